import Attestation
import AuditLog
import Foundation
import SecretMemory
import ServiceKit
import TestSupport
import Testing

@Suite("Lines of an audit log") struct LineTests {
    private func line(_ record: AuditRecord, hashed: Set<AuditIdentifierPolicy.Field> = []) async throws -> [UInt8] {
        let bench = try Bench()
        let trail = try bench.open(hashed: hashed)
        let head = try await trail.append(record)
        await trail.shutdown()
        #expect(bench.fault() == nil)
        let line = try bench.lines(bench.names()[0])[head.sequence - 1]
        #expect(head.digest == Digest(of: line))
        return line
    }

    private func operation(_ line: [UInt8]) throws -> AuditRecord {
        guard case .operation(let record) = try AuditLine(parsing: line).content else {
            throw CocoaError(.coderInvalidValue)
        }
        return record
    }

    /// Without its number, time and previous line.
    private func body(_ line: [UInt8]) throws -> Substring {
        let text = String(decoding: line, as: UTF8.self)
        return text[try #require(text.firstRange(of: "\"type\"")).lowerBound...]
    }

    @Test func `a record's line is this`() async throws {
        #expect(
            try await body(line(Bench.record(5))) == """
                "type":"operation","request":"r-5","trace":"0af7651916cd43dd8448eb211c80319c",\
                "who":{"issuer":"static","subject":"alice","tenant":"default","groups":["radiology"]},\
                "action":"decrypt.job","resource":{"keySet":"ks-1","version":1,"model":"heart-disease"},\
                "parameters":{"number":"5"},"ciphertexts":{"count":1,"digests":\
                ["4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"]},\
                "decision":"allowed","rule":"owner","outcome":"ok","microseconds":1234}

                """)
        let refused = AuditRecord(caller: nil, action: "x", decision: .denied, rule: "", outcome: "no-token")
        #expect(
            try await body(line(refused)) == """
                "type":"operation","action":"x","decision":"denied","rule":"","outcome":"no-token","microseconds":0}

                """)
    }

    @Test("no text leaves its place", arguments: nastyTexts)
    func injection(text: String) async throws {
        let record = AuditRecord(
            caller: .init(Principal(issuer: text, subject: text, tenant: text, groups: [text, "b"])), action: text,
            resource: .init(keySet: text, keySetVersion: 3, model: text, unit: text),
            parameters: [text: text, "p": "q"],
            decision: .denied, rule: text, requestID: text, traceID: text, outcome: text)
        let bytes = try await line(record)
        #expect(bytes.dropLast().allSatisfy { (0x20...0x7E).contains($0) } && bytes.last == 10)
        let read = try operation(bytes)
        #expect(read == record)
        // Text that is equal for Swift may have other scalars.
        #expect(Array(read.action.unicodeScalars) == Array(text.unicodeScalars))
        let foreign = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
        #expect((foreign["rule"] as? String).map { Array($0.unicodeScalars) } == Array(text.unicodeScalars))
        #expect(foreign["decision"] as? String == "denied")
    }

    @Test func `texts and lists are bounded, and the longest line can be read`() async throws {
        let long = String(repeating: "\u{1F3E5}", count: 5000)
        let cut = try #require(AuditRecord(caller: nil, action: long, decision: .denied, rule: "").action as String?)
        #expect(cut.utf8.count <= 256 && cut.hasSuffix("...#" + Digest(of: long.utf8).hex.prefix(16)))
        #expect(cut.hasPrefix(String(repeating: "\u{1F3E5}", count: 48)))
        let exact = String(repeating: "a", count: 256)
        #expect(AuditRecord(caller: nil, action: exact, decision: .denied, rule: "").action == exact)

        let control = String(repeating: "\u{1}", count: 256)
        let groups = (0..<40).map { String(repeating: "\u{2}", count: 250) + "\($0)" }
        let digests = (0..<100).map { Digest(of: [UInt8($0)]) }
        let record = AuditRecord(
            caller: .init(Principal(issuer: control, subject: control, tenant: control, groups: groups)),
            action: control, resource: .init(keySet: control, keySetVersion: .max, model: control, unit: control),
            parameters: Dictionary(
                uniqueKeysWithValues: (10..<30).map { (String(repeating: "\u{3}", count: 250) + "\($0)", control) }),
            ciphertexts: .init(digests), decision: .allowed, rule: control, requestID: control, traceID: control,
            outcome: control, microseconds: .max)
        let bytes = try await line(record)
        #expect(bytes.count < AuditLine.maximumBytes)
        let read = try operation(bytes)
        #expect(read == record)
        #expect(read.caller?.groups.count == 32 && read.caller?.groupCount == 40)
        #expect(read.parameters.count == 16)
        #expect(read.ciphertexts.digests == Array(digests.prefix(64)) && read.ciphertexts.count == 100)
        #expect(read.ciphertexts.all == Digest(of: digests.flatMap(\.bytes)))
    }

    @Test func `one line has one form`() async throws {
        let text = String(decoding: try await line(Bench.record(1)), as: UTF8.self)
        #expect(throws: Never.self) { try AuditLine(parsing: Array(text.utf8)) }
        let changes = [
            ("{\"seq\":", "{ \"seq\":"), ("\"seq\":3", "\"seq\":03"), ("\"seq\":3", "\"seq\":3.0"),
            ("\"seq\":3", "\"seq\":-3"), ("\"seq\":3", "\"seq\":99999999999999999999"), ("alice", "\\u0061lice"),
            ("alice", "\\ud800"), ("alice", "\\u000A"), ("alice", "\\n"), ("alice", "\\/"), ("alice", "älice"),
            ("\"rule\":\"owner\",", ""), ("\"decision\"", "\"x\":1,\"decision\""),
            (",\"groups\":[\"radiology\"]", ",\"groups\":[]"),
            ("\"count\":1", "\"count\":2"), ("\"allowed\"", "\"perhaps\""), ("\"operation\"", "\"other\""),
            ("\"number\":\"1\"", "\"number\":\"1\",\"number\":\"1\""), ("\"number\":\"1\"", "\"number\":1"),
            ("\"parameters\":{\"number\":\"1\"}", "\"parameters\":\"x\""), ("\n", ""), ("\n", "\r\n"), ("\n", "\n\n"),
            ("\n", " \n"),
        ]
        for (old, new) in changes {
            let changed = text.replacingOccurrences(of: old, with: new)
            #expect(changed != text, "\(old)")
            #expect(throws: AuditLineError.self, "\(old) -> \(new)") { try AuditLine(parsing: Array(changed.utf8)) }
        }
        #expect(throws: AuditLineError.self) {
            try AuditLine(parsing: Array(String(repeating: "[", count: 9_000).utf8) + [10])
        }
    }

    @Test func `whatever is read is written the same`() async throws {
        let original = try await line(Bench.record(1))
        var generator = SeededGenerator(1)
        var read = 0
        for _ in 0..<20_000 {
            let bytes = generator.mutated(original)
            guard let line = try? AuditLine(parsing: bytes) else { continue }
            read += 1
            #expect(line.serialized() == bytes)
        }
        // Digits that become other digits, for the most part.
        #expect(read > 20)
    }

    @Test func `identifiers are replaced by keyed hashes`() async throws {
        let bytes = try await line(Bench.record(1), hashed: Set(AuditIdentifierPolicy.Field.allCases))
        let text = String(decoding: bytes, as: UTF8.self)
        for name in ["alice", "\"default\"", "radiology", "ks-1"] { #expect(!text.contains(name)) }
        let key = try Bench().identifierKey
        func digest(_ name: String, _ field: AuditIdentifierPolicy.Field, _ issuer: String = "") -> Digest {
            AuditIdentifierPolicy.digest(of: name, field, within: issuer, under: key)
        }
        let record = try operation(bytes)
        #expect(record.caller?.subject == .keyed(digest("alice", .subject, "static")))
        #expect(record.caller?.groups == [.keyed(digest("radiology", .groups, "static"))])
        #expect(record.caller?.tenant == .keyed(digest("default", .tenant)))
        #expect(record.resource.keySet == .keyed(digest("ks-1", .keySet)))
        // Python: hmac.new(bytes([8]) * 32, message, 'sha256').hexdigest()
        #expect(
            digest("alice", .subject, "static").hex
                == "9747799bf3f0cfae6cce2788862ce6e3a98cce5334d097bd0a1384145746b996")
        #expect(digest("alice", .subject, "other") != digest("alice", .subject, "static"))
        #expect(digest("alice", .groups, "static") != digest("alice", .subject, "static"))
        // Somebody who takes the name of a hash has the name of a hash, not the hash.
        let named = try await line(
            AuditRecord(
                caller: .init(
                    Principal(
                        issuer: "i", subject: "{\"hmac\":\"\(digest("a", .keySet).hex)\"}", tenant: "t", groups: [])),
                action: "x", decision: .allowed, rule: ""))
        let other = try operation(named)
        #expect(other.caller?.subject == .plain("{\"hmac\":\"\(digest("a", .keySet).hex)\"}"))
    }

    @Test func `times are read as they are written`() {
        // date -u -d ... +%s
        let known = [
            ("1970-01-01T00:00:00.000000Z", 0), ("2000-02-29T23:59:59.999999Z", 951_868_799_999_999),
            ("2026-11-21T21:39:54.000123Z", 1_795_297_194_000_123),
            ("2100-03-01T00:00:00.000000Z", 4_107_542_400_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ]
        for (text, microseconds) in known {
            #expect("\(AuditTime(microseconds: microseconds))" == text)
            #expect(AuditTime(text)?.microseconds == microseconds)
        }
        var generator = SeededGenerator(2)
        for _ in 0..<10_000 {
            let time = AuditTime(microseconds: Int.random(in: 0...253_402_300_799_999_999, using: &generator))
            #expect(AuditTime("\(time)") == time)
        }
        #expect(AuditTime("2026-11-21") == AuditTime("2026-11-21T00:00:00Z"))
        for text in [
            "2026-02-29", "2026-13-01", "2026-00-01", "2026-01-00", "2026-1-01", "1969-12-31", "2026-11-21T24:00:00Z",
            "2026-11-21T21:39:54", "2026-11-21 21:39:54Z", "2026-11-21T21:39:60Z", "2026-11-21T21:39:54.00012ZZ", "",
        ] { #expect(AuditTime(text) == nil, "\(text)") }
    }
}
