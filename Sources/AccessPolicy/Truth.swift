/// Whether something holds, where it may not be known (Kleene's three values).
enum Truth: Sendable {
    case no
    case unknown
    case yes

    init(_ known: Bool?) { self = known.map { $0 ? .yes : .no } ?? .unknown }

    static prefix func ! (_ truth: Truth) -> Truth {
        switch truth {
        case .no: .yes
        case .unknown: .unknown
        case .yes: .no
        }
    }

    static func && (_ left: Truth, _ right: Truth) -> Truth {
        switch (left, right) {
        case (.no, _), (_, .no): .no
        case (.yes, .yes): .yes
        default: .unknown
        }
    }
}
