import Foundation
import Testing

/// `hkms policy`, which asks no gateway.
@Suite struct PolicyCommandTests {
    private static let hospital = Programs.repository.appendingPathComponent("docs/policies/hospital.yaml").path

    private func hkms(_ arguments: String...) throws -> Programs.Output {
        try Programs.run(try Programs.path("hkms"), ["policy"] + arguments)
    }

    private func object(_ output: Programs.Output) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(output.out.utf8)) as? [String: Any])
    }

    private func withFile(_ text: String, _ body: (String) throws -> Void) throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-\(UUID().uuidString).yaml")
        try Data(text.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        try body(file.path)
    }

    @Test("check takes the example, names every error by file and line, and refutes a separation by rules and who")
    func check() throws {
        let good = try hkms("check", Self.hospital)
        #expect(good.status == 0 && good.error.isEmpty, "\(good.error)")
        #expect(good.out.contains("separation who-encrypts-does-not-decrypt") && good.out.contains(": proved"))
        try withFile("version: 1\nrules:\n  - {name: r, effect: allow, whom: {}, actions: [fly]}\n") { file in
            let bad = try hkms("check", file)
            #expect(bad.status == 65 && bad.out.isEmpty)
            #expect(bad.error.contains("\(file):3: rules[0].actions: entry 1 is no action"))
            #expect(bad.error.contains("\(file):3: rules[0].whom: unknown key; did you mean who?"))
        }
        let missing = try hkms("check", "/nonexistent/policy.yaml")
        #expect(missing.status == 65 && missing.error.contains("/nonexistent/policy.yaml:1: cannot be read"))
        let rules = """
            version: 1
            rules:
              - {name: e, effect: allow, who: {groups: [clerks]}, actions: [encrypt], keySets: {own: true}}
              - {name: d, effect: allow, who: {groups: [physicians]}, actions: [decrypt.job], keySets: {own: true}}
              - {name: n, effect: deny, who: {anyone: true}, actions: [destroy]}
              - {name: x, effect: allow, who: {anyone: true}, actions: [destroy], keySets: {own: true}}
            separate:
              - {name: s, either: [encrypt], or: [decrypt.job]}
            """
        try withFile(rules) { file in
            let refuted = try hkms("check", file)
            #expect(refuted.status == 65)
            #expect(refuted.out.contains("separation s (\(file):8): refuted"))
            #expect(
                refuted.out.contains(
                    "rules e (\(file):3) and d (\(file):4) give both sides to: member of clerks and physicians"))
            #expect(refuted.error.contains("\(file):6: warning: x: never allows anything: denied by rule n"))
            let json = try object(hkms("check", file, "--json"))
            let separation = try #require((json["separations"] as? [[String: Any]])?.first)
            #expect(separation["outcome"] as? String == "refuted")
            #expect((json["warnings"] as? [[String: Any]])?.first?["line"] as? Int == 6)
        }
    }

    @Test("explain tells the decision, the rule that decided, and why the others do not match")
    func explain() throws {
        func ask(_ more: [String]) throws -> Programs.Output {
            try Programs.run(
                try Programs.path("hkms"),
                [
                    "policy", "explain", "--policy", Self.hospital, "--who", "bob", "--tenant", "hospital-a",
                    "--action", "decrypt.job", "--key-set", "ks-17", "--owner-group", "radiology",
                ] + more)
        }
        let day = [
            "--at", "2026-11-23T09:00:00Z", "--from", "10.20.7.9", "--budget-left", "100", "--audience", "owner",
        ]
        let allowed = try ask(["--group", "physicians"] + day)
        #expect(allowed.status == 0, "\(allowed.error)")
        #expect(allowed.out.hasPrefix("allowed by rule physicians-decrypt (\(Self.hospital):"))
        // Three denials: by a deny rule, for a condition that does not hold, and for one that is not known.
        let both = try ask(["--group", "physicians", "--group", "clerks"] + day)
        #expect(both.out.hasPrefix("denied by rule clerks-and-keepers-never-decrypt"))
        let night = try object(
            ask(["--group", "physicians", "--json", "--at", "2026-11-23T23:00:00Z", "--from", "10.20.3.1"]))
        #expect(night["allowed"] as? Bool == false && night["decision"] as? String == "denied: no rule")
        let rules = try #require(night["rules"] as? [[String: Any]])
        let physicians = rules.first { $0["name"] as? String == "physicians-decrypt" }
        #expect(physicians?["because"] as? String == "when.times: outside of these times")
        let somewhere = try ask(["--group", "physicians", "--at", "2026-11-23T09:00:00Z"])
        #expect(somewhere.out.hasPrefix("denied by rule nothing-from-outside"))
        #expect(somewhere.out.contains("when.networks: the address is not known"))
        let builtIn = try hkms("explain", "--who", "alice", "--action", "encrypt", "--owner", "alice")
        #expect(builtIn.out.hasPrefix("allowed by rule owners-and-groups (built-in:"))
        for wrong in [["--at", "noon"], ["--from", "10.1"], ["--budget-left", "-1"], ["--owner", "x"]] {
            #expect(try ask(wrong).status == 64, "\(wrong)")
        }
    }

    @Test("help teaches")
    func help() throws {
        let help = try hkms("--help")
        #expect(help.out.contains("version: 1") && help.out.contains("explain"))
        #expect(try hkms("explain", "--help").out.contains("decrypt.any"))
    }
}
