// The types of what Contract.swift says about the model.

enum Role {
    case features, scores, labels, logits, depth, values
}

/// An output, in the order of `Outputs`. `shape` is that of a batch. Features are compared vector by vector, the output of a head as
/// one `vector`. `recorded` is the file with what was recorded of the golden frames.
struct OutputFacts {
    let name: String
    let role: Role
    let shape: [Int]
    let vector: Int
    let recorded: String

    /// How many there are in one frame.
    var values: Int { shape.dropFirst().reduce(1, *) }
}

struct FileFacts {
    let path: String
    let bytes: Int
    let sha256: String
}

/// An output's values: whole numbers of labels, and float of all else.
enum Values {
    case labels([Int32])
    case numbers([Float])

    var labels: [Int32] {
        if case .labels(let values) = self { return values }
        return []
    }

    var numbers: [Float] {
        if case .numbers(let values) = self { return values }
        return []
    }

    var count: Int { labels.count + numbers.count }
}

/// What is wrong, on what evidence, and what to do.
public struct ModelError: Error, CustomStringConvertible {
    public enum Kind: Int32 {
        case frames = 4
        case artefact = 8
        case verification = 9
        case runtime = 10
    }

    public let kind: Kind
    public let description: String

    init(_ kind: Kind, _ what: String, evidence: String = "", remedy: String = "") {
        self.kind = kind
        description = what + (evidence.isEmpty ? "" : "\n  " + evidence) + (remedy.isEmpty ? "" : "\n  To do: " + remedy)
    }
}
