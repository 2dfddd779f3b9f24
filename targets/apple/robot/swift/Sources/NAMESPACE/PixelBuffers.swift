// Frames as Core ML takes them: 32BGRA pixel buffers.

import CoreVideo

/// A pixel buffer of packed RGB, three bytes a pixel. Throws `ModelError` if there are more or fewer bytes.
public func pixelBuffer(rgb: [UInt8], height: Int, width: Int) throws -> CVPixelBuffer {
    var made: CVPixelBuffer?
    let status = CVPixelBufferCreate(nil, width, height, kCVPixelFormatType_32BGRA, nil, &made)
    guard status == kCVReturnSuccess, let buffer = made, rgb.count == 3 * height * width else {
        throw ModelError(
            .frames, "There is no pixel buffer for a frame.",
            evidence: "\(rgb.count) bytes for \(height)x\(width) (height x width), Core Video's status \(status)"
        )
    }
    CVPixelBufferLockBaseAddress(buffer, [])
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    guard let base = CVPixelBufferGetBaseAddress(buffer) else {
        throw ModelError(.frames, "A pixel buffer has no memory.")
    }
    let step = CVPixelBufferGetBytesPerRow(buffer)
    for row in 0..<height {
        let line = (base + row * step).assumingMemoryBound(to: UInt8.self)
        for column in 0..<width {
            let place = 3 * (row * width + column)
            line[4 * column] = rgb[place + 2]
            line[4 * column + 1] = rgb[place + 1]
            line[4 * column + 2] = rgb[place]
            line[4 * column + 3] = 255
        }
    }
    return buffer
}
