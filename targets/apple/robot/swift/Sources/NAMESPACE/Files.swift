// The artefact's files: each is checked before anything is made of it.

import CryptoKit
import Foundation

enum Files {
    /// Throws `ModelError` unless every file is there and has the content that edgec wrote.
    static func check(_ folder: URL) throws {
        for file in Contract.files {
            let content = try read(folder, file.path)
            let hash = SHA256.hash(data: content).map { String(format: "%02x", $0) }.joined()
            if content.count != file.bytes || hash != file.sha256 {
                throw ModelError(
                    .artefact, "The model's files are not those that this program is for.",
                    evidence: "\(file.path) has \(content.count) bytes, SHA-256 \(hash.prefix(12))..., instead of \(file.bytes), "
                        + "\(file.sha256.prefix(12))...",
                    remedy: "copy them again from where they are whole, or write the program again with `edgec code`"
                )
            }
        }
    }

    static func read(_ folder: URL, _ path: String) throws -> Data {
        do {
            return try Data(contentsOf: folder.appendingPathComponent(path), options: .mappedIfSafe)
        } catch {
            throw ModelError(.artefact, "A file of the model cannot be read.", evidence: "\(path): \(error)")
        }
    }

    /// A checked file's numbers, which are little-endian. Throws `ModelError` if there are more or fewer.
    static func numbers<Number>(_ folder: URL, _ path: String, count: Int, of zero: Number) throws -> [Number] {
        let content = try read(folder, path)
        guard content.count == count * MemoryLayout<Number>.stride else {
            throw ModelError(.artefact, "A golden file does not hold what it must.", evidence: "\(path): \(content.count) bytes")
        }
        var numbers = [Number](repeating: zero, count: count)
        _ = numbers.withUnsafeMutableBytes { content.copyBytes(to: $0) }
        return numbers
    }
}
