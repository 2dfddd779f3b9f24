// A stand-in for the part of Core Video that packages use, for Linux. Rows have gaps, as they may have on a device.
public typealias CVReturn = Int32
public typealias OSType = UInt32
public struct CVPixelBufferLockFlags: OptionSet {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}
public let kCVReturnSuccess: CVReturn = 0
public let kCVPixelFormatType_32BGRA: OSType = 0x4247_5241

public final class CVPixelBuffer {
    public let height: Int, width: Int, format: OSType, step: Int
    public let memory: UnsafeMutableRawPointer
    init(_ width: Int, _ height: Int, _ format: OSType) {
        (self.height, self.width, self.format, step) = (height, width, format, 4 * width + 64)
        memory = .allocate(byteCount: height * step, alignment: 64)
    }
    deinit { memory.deallocate() }
}

public func CVPixelBufferCreate(
    _ allocator: Any?, _ width: Int, _ height: Int, _ format: OSType, _ attributes: Any?, _ made: UnsafeMutablePointer<CVPixelBuffer?>
) -> CVReturn {
    made.pointee = CVPixelBuffer(width, height, format)
    return kCVReturnSuccess
}
@discardableResult
public func CVPixelBufferLockBaseAddress(_ buffer: CVPixelBuffer, _ flags: CVPixelBufferLockFlags) -> CVReturn { kCVReturnSuccess }
@discardableResult
public func CVPixelBufferUnlockBaseAddress(_ buffer: CVPixelBuffer, _ flags: CVPixelBufferLockFlags) -> CVReturn { kCVReturnSuccess }
public func CVPixelBufferGetBaseAddress(_ buffer: CVPixelBuffer) -> UnsafeMutableRawPointer? { buffer.memory }
public func CVPixelBufferGetBytesPerRow(_ buffer: CVPixelBuffer) -> Int { buffer.step }
public func CVPixelBufferGetHeight(_ buffer: CVPixelBuffer) -> Int { buffer.height }
public func CVPixelBufferGetWidth(_ buffer: CVPixelBuffer) -> Int { buffer.width }
public func CVPixelBufferGetPixelFormatType(_ buffer: CVPixelBuffer) -> OSType { buffer.format }
