import Foundation
import ServiceKit
import Testing

@Suite struct YAMLDocumentTests {
    enum Level: String, CaseIterable { case debug, info, warning }

    private func issues(_ text: String, _ read: (YAMLSection) -> Void) -> [String] {
        do {
            let document = try YAMLDocument(text: text, name: "c.yaml")
            read(document.root)
            try document.finish()
            return []
        } catch {
            return error.issues.map(\.description)
        }
    }

    @Test func readsEveryKind() throws {
        let document = try YAMLDocument(
            text: """
                name: "unit \\u0031"   # comment
                version: 1.20
                port: 8_080
                verbose: true
                level: info
                hosts: [a, "b"]
                tls:
                  file: /x
                units:
                  - name: u1
                  - name: u2
                nothing: ~
                """, name: "c.yaml")
        let root = document.root
        #expect(root.string("name") == "unit 1")
        #expect(root.string("version") == "1.20")
        #expect(root.int("port", in: 1...65_535) == 8_080)
        #expect(root.bool("verbose"))
        #expect(root.enumeration("level", of: Level.self) == .info)
        #expect(root.strings("hosts") == ["a", "b"])
        #expect(root.section("tls").string("file") == "/x")
        #expect(root.sections("units").map { $0.string("name") } == ["u1", "u2"])
        #expect(root.optionalString("nothing") == nil)
        #expect(root.int("absent", default: 7) == 7)
        #expect(root.optionalInt("absent") == nil)
        #expect(root.bool("absent", default: true))
        #expect(root.string("absent", default: "x") == "x")
        #expect(root.enumeration("absent", of: Level.self, default: .debug) == .debug)
        #expect(root.strings("absent", default: ["y"]) == ["y"])
        #expect(root.optionalSections("absent").isEmpty)
        #expect(root.optionalSection("absent") == nil)
        #expect(root.keys.first == "name")
        try document.finish()
    }

    @Test func anEmptyFileIsAnEmptyMapping() throws {
        for text in ["", "# nothing\n", "---\n", "{}", "\u{feff}"] where text != "---\n" {
            try YAMLDocument(text: text, name: "c.yaml").finish()
        }
    }

    @Test func collectsAllErrorsInTheOrderOfTheirLines() {
        let found = issues(
            """
            prot: 1
            level: inof
            size: 12MB
            flag: yes
            hosts: a
            tls:
              fiel: /x
            units:
              - nmae: u
              - 3
            """
        ) { root in
            _ = root.int("port", in: 1...65_535)
            _ = root.enumeration("level", of: Level.self)
            _ = root.int("size")
            _ = root.bool("flag")
            _ = root.strings("hosts")
            _ = root.section("tls").string("file")
            for unit in root.sections("units") { _ = unit.string("name") }
            _ = root.section("gone").string("anything")
        }
        #expect(
            found == [
                "c.yaml:1: port: is missing; it must be an integer from 1 to 65535",
                "c.yaml:1: gone: is missing; it must be a mapping",
                "c.yaml:1: prot: unknown key; did you mean port?",
                "c.yaml:2: level: must be debug, info or warning; did you mean info?",
                "c.yaml:3: size: must be an integer of at least 0",
                "c.yaml:4: flag: must be true or false",
                "c.yaml:5: hosts: must be a list of texts",
                "c.yaml:7: tls.file: is missing; it must be text",
                "c.yaml:7: tls.fiel: unknown key; did you mean file?",
                "c.yaml:9: units[0].name: is missing; it must be text",
                "c.yaml:9: units[0].nmae: unknown key; did you mean name?",
                "c.yaml:10: units[1]: must be a mapping",
            ])
    }

    @Test func `a key that another reader checks is not unknown, and a key in it is nobody's business`() {
        #expect(
            issues("kms: {a: [1, {b: c}]}\nport: 1\nx: 2") { root in
                root.ignore("kms")
                _ = root.int("port")
            } == ["c.yaml:3: x: unknown key"])
    }

    @Test func integersHaveOneForm() {
        for bad in ["0x10", "010", "1e3", "1.0", "\"1\"", "1__", "_1", "-", "--1", "9223372036854775808", "٣", "[1]"] {
            #expect(issues("n: \(bad)") { _ = $0.int("n", in: Int.min...Int.max) }.count == 1, "\(bad)")
        }
        for good in ["0", "-1", "9223372036854775807", "1_000"] {
            #expect(issues("n: \(good)") { _ = $0.int("n", in: Int.min...Int.max) }.isEmpty, "\(good)")
        }
        #expect(issues("n: 3") { _ = $0.int("n", in: 4...5) } == ["c.yaml:1: n: must be an integer from 4 to 5"])
    }

    @Test func refusesWhatIsNoMapping() {
        #expect(issues("- a") { _ in } == ["c.yaml:1: the file must be a mapping of keys to values"])
        #expect(issues("a: b\n---\nc: d") { _ in }.count == 1)
        #expect(issues("a: [1") { _ in }.first?.hasPrefix("c.yaml:2: is not YAML") == true)
        #expect(issues("a: 1\n\tb: 2") { _ in }.first?.hasPrefix("c.yaml:2: is not YAML") == true)
        #expect(issues("a: 1\nb: \u{1}") { _ in }.first?.hasPrefix("c.yaml:2: is not YAML") == true)
    }

    @Test func refusesDuplicates() {
        #expect(issues("x: 0\na: 1\na: 2") { _ in } == ["c.yaml:2: a key appears twice: 'a'"])
        #expect(issues("1: a\n\"1\": b") { _ = $0.string("1") } == ["c.yaml:2: a key appears twice: '1'"])
    }

    /// Yams sorts the keys that appear twice, and compares two equal collections twice for each level.
    @Test(.timeLimit(.minutes(1))) func refusesKeysThatAreCollections() {
        let message = "a key must be plain text"
        #expect(issues("? [a]\n: b") { _ in } == ["c.yaml:1: \(message)"])
        #expect(issues("a: 1\nb: {[x]: y}") { _ in } == ["c.yaml:2: \(message)"])
        #expect(issues("{a: b}: c") { _ in } == ["c.yaml:1: \(message)"])
        let deep = String(repeating: "[", count: 30) + String(repeating: "]", count: 30)
        #expect(issues("{\(deep): 1, \(deep): 2, x\(deep): 3}") { _ in } == ["c.yaml:1: \(message)"])
        #expect(issues("a: {b: \(deep)}") { _ in } == ["c.yaml:1: a: unknown key"])
        #expect(issues("a: {b: [\(deep)]}") { _ in } == ["c.yaml:1: is nested more than 32 levels deep"])
        #expect(issues("a: b\n? c\n: \"]: ? x\" # ? [d]: e\n") { root in _ = root.keys }.count == 2)
    }

    @Test func errorsQuoteNoValue() {
        let secret = "s3cr3t-value"
        let texts = [
            "a: \(secret)", "a: [\(secret)", "a: 1\n\(secret)", "a: {b: \(secret)}\n  c", "a: \"\(secret)\n",
            "a: &x \(secret)",
        ]
        for text in texts {
            let found = issues(text) { _ = $0.int("a") }
            #expect(!found.isEmpty)
            #expect(!found.joined().contains(secret), "\(found)")
        }
    }

    @Test func refusesAnchorsAndAliases() {
        let message = "anchors and aliases are not accepted; write the value out"
        #expect(issues("a: 1\nb: &x 2\nc: *x") { _ in } == ["c.yaml:2: \(message)"])
        #expect(issues("b: &x [1]") { _ in } == ["c.yaml:1: \(message)"])
        #expect(issues("&x b: 1") { _ in } == ["c.yaml:1: \(message)"])
        #expect(
            issues("# see *this* *a *b *c *d *e *f *g *h\na: \"*b* & c\"\nd: a*b\ne: '* * * * *'") { root in
                for key in ["a", "d", "e"] { _ = root.string(key) }
            }.isEmpty)
    }

    @Test(.timeLimit(.minutes(1))) func bombsAreRefusedQuickly() {
        var bomb = "a0: &a0 [x, x]\n"
        for level in 1..<40 { bomb += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        #expect(issues(bomb) { _ in }.count == 1)
        #expect(issues(bomb + "? *a39\n: x\n") { _ in }.count == 1)
        let few = "a0: &a0 [x, x]\na1: &a1 [*a0, *a0]\na2: &a2 [*a1, *a1]\n? *a2\n: x\n"
        #expect(issues(few) { _ in }.count == 1)
    }

    @Test(.timeLimit(.minutes(2))) func deepAndLongFilesAreRefused() {
        let size = YAMLDocument.maximumBytes
        #expect(
            issues("a: " + String(repeating: "x", count: size)) { _ in }
                == ["c.yaml:1: is longer than 1048576 bytes"])
        for unit in ["[", "{", "- ", "? ", "{a: ", "[[a],", "!a ", "\"", "a: |\n", "'", "%", "a,", "[\n"] {
            let text = String(repeating: unit, count: (size - 1) / unit.utf8.count)
            #expect(!issues(text) { _ in }.isEmpty, "\(unit)")
            #expect(!issues("k: " + text.prefix(size / 2)) { _ in }.isEmpty, "\(unit)")
        }
    }

    @Test func readsFiles() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-\(UUID().uuidString).yaml").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        func write(_ bytes: [UInt8]) { _ = FileManager.default.createFile(atPath: path, contents: Data(bytes)) }
        func message() -> String? {
            do {
                let document = try YAMLDocument(path: path)
                _ = document.root.string("a")
                try document.finish()
                return nil
            } catch {
                return error.description
            }
        }
        #expect(message()?.hasPrefix("\(path):1: cannot be read") == true)
        write(Array("a: b\n".utf8))
        #expect(message() == nil)
        write(Array("a: b\nc: d".utf8))
        #expect(message() == "\(path):2: c: unknown key")
        write([0x61, 0x3a, 0x20, 0xff])
        #expect(message() == "\(path):1: is not UTF-8 text")
        write([UInt8](repeating: 0x20, count: YAMLDocument.maximumBytes + 1))
        #expect(message() == "\(path):1: is longer than 1048576 bytes")
    }

    @Test func anyTextIsReadOrRefused() {
        let seed = Array("a: [1, 'x', {b: *c}]\n&d e: |\n  text\n- !!int f\n? g\n: \"\\x41\"\n<<: {h: ~}\n".utf8)
        let other = Array("port: 8080\ntls:\n  file: /x\nunits:\n  - name: u1\n".utf8)
        fuzz(20_000, seeds: [seed, other], alphabet: "ab:- \n\t[]{},&*!|>'\"%@`?#~\\\u{e9}\u{feff}01x<=.") { bytes in
            guard let document = try? YAMLDocument(text: text(bytes), name: "c.yaml") else { return }
            for key in document.root.keys {
                _ = document.root.optionalString(key)
                _ = document.root.optionalInt(key)
                _ = document.root.bool(key)
                _ = document.root.optionalSection(key)?.keys
                _ = document.root.sections(key)
                _ = document.root.strings(key, default: [])
            }
            try? document.finish()
        }
    }
}
