// Runs the golden frames of the artefact in a folder, and says what came of it.
import CoreVideo
import Foundation
import robot

do {
    let model = try await Model(artefact: URL(fileURLWithPath: CommandLine.arguments[1]))
    let frame = try pixelBuffer(rgb: [UInt8](repeating: 7, count: 3 * Input.height * Input.width), height: Input.height, width: Input.width)
    let outputs = try await model(frame)
    print("ready, \(model.checks.count) outputs, \(outputs.where_.count) labels, \(ColourClass.green.name)")
    _ = try await model(try pixelBuffer(rgb: [1, 2, 3], height: 1, width: 1))
} catch let error as ModelError {
    print("\(error.kind.rawValue) \(error)")
}
