import AccessPolicy
import Foundation
import Testing

/// docs/policy.md shows policies: each of them is one.
@Suite struct DocumentTests {
    @Test("every piece of YAML in docs/policy.md is accepted, and every action and key is described")
    func examples() throws {
        let text = try String(contentsOfFile: Repository.file("docs/policy.md"), encoding: .utf8)
        let pieces = text.components(separatedBy: "```yaml\n").dropFirst().map { $0.components(separatedBy: "```")[0] }
        #expect(pieces.count >= 7)
        for piece in pieces {
            var file = piece
            if piece.hasPrefix("separate:") { file = "version: 1\nrules: []\n" + piece }
            if piece.hasPrefix("  - ") { file = "version: 1\nrules:\n" + piece }
            #expect(issues(file).isEmpty, "\(piece)\n\(issues(file))")
        }
        for action in AccessAction.allCases { #expect(text.contains("| `\(action.rawValue)` |"), "\(action)") }
    }
}
