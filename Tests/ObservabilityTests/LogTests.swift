import Foundation
import Logging
import Observability
import Synchronization
import Testing

/// Log lines for machines.
@Suite struct LogTests {
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    private func logger(_ lines: Lines, _ label: String = "hkms") -> Logger {
        Logger(label: label) { label in
            JSONLogHandler(component: label, clock: { Date(timeIntervalSince1970: 1_700_000_000.25) }, write: lines.add)
        }
    }

    private func object(_ line: String) throws -> [String: Any] {
        #expect(line.hasSuffix("\n") && line.dropLast().allSatisfy { !$0.isNewline })
        return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    @Test func `a line is an object with time, level, message, component and metadata`() throws {
        let lines = Lines()
        var logger = logger(lines)
        logger.info("request", metadata: ["status": "200", "trace": "4bf9", "list": ["a", ["k": "v"]]])
        logger[metadataKey: "component"] = "gateway"
        logger.error("failed", metadata: ["level": "mine", "ms": .stringConvertible(3)])
        logger.debug("not at this level")
        #expect(
            lines.all == [
                #"{"time":"2023-11-14T22:13:20.250Z","level":"info","message":"request","component":"hkms","#
                    + #""list":["a",{"k":"v"}],"status":"200","trace":"4bf9"}"# + "\n",
                #"{"time":"2023-11-14T22:13:20.250Z","level":"error","message":"failed","component":"gateway","#
                    + #""metadata.level":"mine","ms":"3"}"# + "\n",
            ])
    }

    @Test func `nobody can write a line of his own`() throws {
        let texts = [
            "a\nb", "a\r\nb", "\u{2028}\u{2029}\u{85}", "\"},{\"level\":\"error", "\\", "\u{0}\u{1b}[31m\u{7f}", "é😀",
            "",
        ]
        let lines = Lines()
        for text in texts {
            logger(lines, text).info("\(text)", metadata: [text: .string(text), "path": .array([.string(text)])])
        }
        try #require(lines.all.count == texts.count)
        for (line, text) in zip(lines.all, texts) {
            let object = try object(line)
            #expect(object["message"] as? String == text && object["component"] as? String == text)
            #expect(object[text] as? String == text && object["path"] as? [String] == [text])
            #expect(line.dropLast().unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) })
        }
    }
}
