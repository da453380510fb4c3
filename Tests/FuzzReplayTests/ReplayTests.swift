import Foundation
import Testing

/// What fuzzing found worth keeping, read again. scripts/fuzz finds more, and names the input where one crashes.
@Suite struct ReplayTests {
    private static let corpus = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Corpus")

    @Test("every kept input is read or refused, and soon", arguments: Parser.allCases)
    func replay(parser: Parser) throws {
        let folder = Self.corpus.appendingPathComponent(parser.rawValue)
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        #expect(!files.isEmpty)
        for file in files.sorted(by: { $0.path < $1.path }) {
            let bytes = Array(try Data(contentsOf: file))
            let elapsed = ContinuousClock().measure { parser.read(bytes) }
            #expect(elapsed < .seconds(5), "\(parser.rawValue)/\(file.lastPathComponent)")
        }
    }
}
