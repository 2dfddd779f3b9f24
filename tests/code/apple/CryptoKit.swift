// A stand-in for CryptoKit's SHA-256, where there is none: on Linux.
import Foundation

public enum SHA256 {
    private static let rounds: [UInt32] = {
        var primes: [Int] = []
        var next = 2
        while primes.count < 64 {
            if primes.allSatisfy({ next % $0 != 0 }) { primes.append(next) }
            next += 1
        }
        return primes.map { UInt32(truncatingIfNeeded: Int((cbrt(Double($0)).truncatingRemainder(dividingBy: 1)) * 4_294_967_296)) }
    }()

    public static func hash(data: Data) -> [UInt8] {
        var state: [UInt32] = [
            0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
        ]
        var bytes = [UInt8](data) + [0x80]
        while bytes.count % 64 != 56 { bytes.append(0) }
        let bits = UInt64(data.count) * 8
        bytes += (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * UInt64($0))) }
        func turn(_ value: UInt32, _ by: UInt32) -> UInt32 { value >> by | value << (32 - by) }
        for start in stride(from: 0, to: bytes.count, by: 64) {
            var words = (0..<16).map { index in (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[start + 4 * index + $1]) } }
            for index in 16..<64 {
                let one = words[index - 15], other = words[index - 2]
                let first = turn(one, 7) ^ turn(one, 18) ^ one >> 3, second = turn(other, 17) ^ turn(other, 19) ^ other >> 10
                words.append(words[index - 16] &+ first &+ words[index - 7] &+ second)
            }
            var own = state
            for index in 0..<64 {
                let e = own[4], a = own[0]
                let first = own[7] &+ (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) &+ (e & own[5] ^ ~e & own[6]) &+ rounds[index] &+ words[index]
                let majority = a & own[1] ^ a & own[2] ^ own[1] & own[2]
                let second = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) &+ majority
                own = [first &+ second, a, own[1], own[2], own[3] &+ first, e, own[5], own[6]]
            }
            for index in 0..<8 { state[index] = state[index] &+ own[index] }
        }
        return state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * UInt32($0))) } }
    }
}
