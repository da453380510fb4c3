import AccessPolicy
import Testing

@Suite struct WarningTests {
    private func warnings(_ rules: String) throws -> [String] { try policy(rules).warnings().map(\.description) }

    private static let allow = """
          - name: a
            effect: allow
            who: {groups: [g, h]}
            actions: [encrypt, decrypt.job]
            keySets: {own: true, groups: [x]}
            when: {networks: [10.1.0.0/16], times: [{days: [mon], from: 09:00, to: 17:00}], decryptionsLeft: 10}

        """

    @Test(
        "a rule whose every allowance a deny rule takes away",
        arguments: [
            ("who: {anyone: true}", "actions: [all]", true), ("who: {groups: [f, g, h]}", "actions: [all]", true),
            ("who: {groups: [g]}", "actions: [all]", false), ("who: {subjects: [s]}", "actions: [all]", false),
            ("who: {anyone: true}", "actions: [encrypt, decrypt.job], keySets: {own: true, groups: [x, y]}", true),
            ("who: {anyone: true}", "actions: [encrypt, decrypt.job], keySets: {own: true}", false),
            ("who: {anyone: true}", "actions: [all], when: {networks: [10.0.0.0/8, '::/0']}", true),
            ("who: {anyone: true}", "actions: [all], when: {networks: [10.1.0.0/17, 10.1.128.0/17]}", false),
            ("who: {anyone: true}", "actions: [all], when: {times: [{days: [mon, tue]}]}", true),
            ("who: {anyone: true}", "actions: [all], when: {times: [{days: [tue]}, {to: 16:00}]}", false),
            ("who: {anyone: true}", "actions: [all], when: {times: [{from: 08:00, to: 14:00}, {from: 13:00}]}", true),
            ("who: {anyone: true}", "actions: [encrypt, decrypt.job], when: {decryptionsLeft: 10}", true),
            ("who: {anyone: true}", "actions: [encrypt, decrypt.job], when: {decryptionsLeft: 11}", false),
            ("who: {anyone: true}", "actions: [all], unless: {networks: [192.0.2.0/24]}", false),
            ("who: {anyone: true}", "actions: [encrypt, decrypt.job], models: ['*']", true),
            ("who: {anyone: true}", "actions: [encrypt, decrypt.job], models: ['m*']", false),
        ])
    func shadowed(who: String, rest: String, isShadowed: Bool) throws {
        let found = try warnings(Self.allow + "  - {name: d, effect: deny, \(who), \(rest)}\n")
        #expect(
            found == (isShadowed ? ["p.yaml:3: warning: a: never allows anything: denied by rule d (p.yaml:9)"] : []))
    }

    @Test("a deny rule that takes away a part names it")
    func parts() throws {
        let deny = "  - {name: d, effect: deny, who: {anyone: true}, actions: [decrypt.job]}\n"
        #expect(
            try warnings(Self.allow + deny) == [
                "p.yaml:3: warning: a: never allows decrypt.job: denied by rule d (p.yaml:9)"
            ])
        let predict = "  - {name: p, effect: allow, who: {anyone: true}, actions: [predict], keySets: {own: true}}\n"
        #expect(try warnings(predict + deny).count == 1)
    }

    @Test("a rule that never matches, and names that several issuers may vouch for")
    func others() throws {
        let register = "actions: [register], keySets: {ids: [ks-1]}"
        #expect(try warnings("  - {name: r, effect: allow, who: {anyone: true}, \(register)}")[0].contains("no id yet"))
        let never = """
              - name: r
                effect: deny
                who: {anyone: true}
                actions: [all]
                when: {networks: [10.1.0.0/16]}
                unless: {networks: [10.0.0.0/8]}
            """
        #expect(try warnings(never)[0].contains("unless holds wherever when holds"))
        let issuers = """
              - {name: r, effect: allow, who: {groups: [g]}, actions: [audit]}
              - {name: i, effect: allow, who: {issuers: [x], groups: [g]}, actions: [audit]}
            """
        #expect(try warnings(issuers).count == 1)
        #expect(try warnings(issuers)[0].contains("r: names of any issuer count"))
    }
}
