// Does the model compute on this device what was recorded when it was built? The comparison and the limits are those of
// `edgec verify`.

import Foundation

/// One output against what was recorded, over all golden frames. For labels, `difference` is the share of a frame's pixels that
/// differ, and `cosine` the share that agrees.
public struct OutputCheck {
    public let name: String
    public internal(set) var difference = 0.0
    public internal(set) var tolerance = 0.0
    public internal(set) var cosine = 1.0
    public internal(set) var leastCosine = 0.0
    public var passed: Bool { difference <= tolerance && cosine >= leastCosine }

    var said: String {
        "\(name): largest difference \(difference) (tolerance \(tolerance)), lowest cosine \(cosine) (at least \(leastCosine))"
    }
}

/// Collects the outputs of the golden frames.
struct SelfTest {
    private(set) var checks: [OutputCheck]
    private var recorded: [Values] = []
    private var largest: [Double] = []

    init(_ folder: URL) throws {
        checks = Contract.outputs.map { OutputCheck(name: $0.name) }
        for facts in Contract.outputs {
            let count = Golden.count * facts.values
            if facts.role == .labels {
                recorded.append(.labels(try Files.numbers(folder, facts.recorded, count: count, of: Int32(0))))
                largest.append(0)
            } else {
                let values = try Files.numbers(folder, facts.recorded, count: count, of: Float(0))
                recorded.append(.numbers(values))
                largest.append(values.reduce(Double(Float.leastNormalMagnitude)) { max($0, abs(Double($1))) })
            }
        }
    }

    /// One frame of a batch, and which golden frame it was.
    mutating func add(_ outputs: [Values], place: Int, frame: Int) {
        for (index, facts) in Contract.outputs.enumerated() {
            let here = place * facts.values..<(place + 1) * facts.values
            let there = frame * facts.values..<(frame + 1) * facts.values
            if facts.role == .labels {
                let agreed = zip(outputs[index].labels[here], recorded[index].labels[there]).reduce(0) { $0 + ($1.0 == $1.1 ? 1 : 0) }
                let share = Double(agreed) / Double(facts.values)
                checks[index].cosine = min(checks[index].cosine, share)
                checks[index].difference = max(checks[index].difference, 1 - share)
            } else {
                compare(Array(outputs[index].numbers[here]), Array(recorded[index].numbers[there]), index, facts.vector)
            }
        }
    }

    private mutating func compare(_ actual: [Float], _ expected: [Float], _ index: Int, _ vector: Int) {
        for (one, other) in zip(actual, expected) {
            let difference = abs(Double(one) - Double(other))
            checks[index].difference = difference.isFinite ? max(checks[index].difference, difference) : .infinity
        }
        for start in stride(from: 0, to: expected.count, by: vector) {
            let own = cosine(expected[start..<start + vector], actual[start..<start + vector])
            checks[index].cosine = min(checks[index].cosine, own)
        }
    }

    /// -1 for what is not finite, or zero where the expected vector is not.
    private func cosine(_ expected: ArraySlice<Float>, _ actual: ArraySlice<Float>) -> Double {
        var dot = 0.0, one = 0.0, other = 0.0, same = true
        for (a, b) in zip(expected, actual) {
            dot += Double(a) * Double(b)
            one += Double(a) * Double(a)
            other += Double(b) * Double(b)
            same = same && a == b
        }
        let norms = (one * other).squareRoot()
        let value = norms > 0 ? dot / norms : (same ? 1.0 : -1.0)
        return value.isFinite ? min(max(value, -1), 1) : -1
    }

    /// The verdict, when every frame was added. Throws `ModelError` with each output that is too far from what was recorded.
    mutating func finish() throws {
        // A head's output may move only as far as the features that it is computed from did.
        var moved: Double?
        for (index, facts) in Contract.outputs.enumerated() where facts.role == .features {
            moved = max(moved ?? 0, checks[index].difference / largest[index])
        }
        for (index, facts) in Contract.outputs.enumerated() {
            var difference = Golden.difference, labels = Golden.labels
            if facts.role != .features, let moved {
                difference = min(difference, Golden.headMoves * moved + Golden.headSlack)
                if moved <= Golden.still { labels = max(labels, Golden.labelsStill) }
            }
            checks[index].tolerance = facts.role == .labels ? 1 - labels : difference * largest[index]
            checks[index].leastCosine = facts.role == .labels ? labels : Golden.cosine
        }
        let problems = checks.filter { !$0.passed }.map(\.said)
        if !problems.isEmpty {
            throw ModelError(
                .verification, "The model does not compute here what was recorded when it was built.",
                evidence: problems.joined(separator: "\n  "),
                remedy: "try other compute units; `edgec deploy` measures and checks each of them on a Mac"
            )
        }
    }
}
