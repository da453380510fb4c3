import Testing

/// What fuzzers do not reach, because their inputs are short: work that grows faster than its input.
@Suite struct LargeInputTests {
    @Test(
        "many unknown keys, nested keys and wrong elements are refused soon",
        arguments: [
            Parser.yaml, .tokens, .auditConfiguration, .gatewayConfiguration, .kmsConfiguration, .unitConfiguration,
        ])
    func configurations(parser: Parser) {
        expectSoon(parser, (0..<60_000).map { "key\($0): 1\n" }.joined())
        expectSoon(parser, String(repeating: "- \(nested("{", 400, "}"))\n", count: 200))
        expectSoon(parser, String(repeating: "- \(nested("? ", 400, ""))a\n", count: 200))
        for key in ["units", "gateways", "tokens", "manifestKeys", "kms"] {
            expectSoon(parser, "\(key): [\(String(repeating: "x, ", count: 60_000))x]\n")
        }
        expectSoon(parser, "a: " + nested("[", 1 << 19, ""))
    }

    @Test(
        "deep and long JSON is refused or read soon",
        arguments: [
            Parser.answer, .auditLine, .envelope, .keystore, .manifest, .metadataRow, .model, .problem, .record,
            .recordFile,
            .request, .secretJSON, .transitAnswer, .vectorFile,
        ])
    func json(parser: Parser) {
        let type = [.answer: "e", .metadataRow: "0", .request: "e", .transitAnswer: "k"][parser] ?? ""
        expectSoon(parser, type + nested("[", 1 << 18, ""))
        expectSoon(parser, type + nested("{\"a\":", 1 << 16, ""))
        expectSoon(parser, type + "[" + nested("9", 1 << 18, "") + "]")
        expectSoon(parser, type + "{" + (0..<20_000).map { "\"k\($0)\": 0, " }.joined() + "\"k\": 0}")
    }

    @Test("long CSV is refused or read soon", arguments: [Parser.recordFile, .vectorFile])
    func csv(parser: Parser) {
        for piece in ["1,", "1\n", "\"\"\n", "\r\n", "\t", "1;", " ", "\u{301}"] {
            expectSoon(parser, "1" + nested(piece, 1 << 16, "") + "\n")
        }
    }

    private func nested(_ opening: String, _ depth: Int, _ closing: String) -> String {
        String(repeating: opening, count: depth) + String(repeating: closing, count: depth)
    }

    private func expectSoon(_ parser: Parser, _ text: String, sourceLocation: SourceLocation = #_sourceLocation) {
        let bytes = Array(text.utf8)
        let elapsed = ContinuousClock().measure { parser.read(bytes) }
        #expect(elapsed < .seconds(20), "\(text.prefix(20))", sourceLocation: sourceLocation)
    }
}
