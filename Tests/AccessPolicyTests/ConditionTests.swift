import AccessPolicy
import Foundation
import Testing

@Suite struct ConditionTests {
    private func date(_ text: String) throws -> Date { try Date(text, strategy: .iso8601) }

    /// Allows and denies by one condition, under `when` and `unless`: all four say the same where it is known.
    private func holds(_ condition: String, _ request: AccessRequest) throws -> Bool? {
        let rest = "who: {anyone: true}, actions: [encrypt], keySets: {any: true}"
        let all = "  - {name: all, effect: allow, \(rest)}\n"
        func decide(_ effect: String, _ key: String) throws -> Bool {
            let rule =
                "  - name: r\n    effect: \(effect)\n    who: {anyone: true}\n    actions: [encrypt]\n"
                + "    keySets: {any: true}\n    \(key):\n      \(condition)\n"
            return try policy((effect == "deny" ? all : "") + rule).decide(request).isAllowed
        }
        let allowed = [
            try decide("allow", "when"), try !decide("allow", "unless"), try !decide("deny", "when"),
            try decide("deny", "unless"),
        ]
        switch allowed {
        case [true, true, true, true]: return true
        case [false, false, false, false]: return false
        // Not known: no allow rule matches, each deny rule does.
        case [false, true, true, false]: return nil
        default:
            Issue.record("\(condition): \(allowed)")
            return nil
        }
    }

    @Test(
        "windows of the week",
        arguments: [
            // 2026-11-23 is a Monday. The start is within, the end is not.
            ("{days: [mon], from: 08:00, to: 18:00}", "2026-11-23T08:00:00Z", true),
            ("{days: [mon], from: 08:00, to: 18:00}", "2026-11-23T07:59:59Z", false),
            ("{days: [mon], from: 08:00, to: 18:00}", "2026-11-23T17:59:59Z", true),
            ("{days: [mon], from: 08:00, to: 18:00}", "2026-11-23T18:00:00Z", false),
            ("{days: [mon], from: 08:00, to: 18:00}", "2026-11-24T12:00:00Z", false),
            ("{days: [mon]}", "2026-11-23T00:00:00Z", true), ("{days: [mon]}", "2026-11-23T23:59:59Z", true),
            ("{days: [mon]}", "2026-11-22T23:59:59Z", false), ("{days: [mon]}", "2026-11-24T00:00:00Z", false),
            ("{days: [mon], to: 24:00}", "2026-11-23T23:59:59Z", true),
            // Over midnight it belongs to the day on which it starts.
            ("{days: [fri], from: 22:00, to: 06:00}", "2026-11-27T21:59:59Z", false),
            ("{days: [fri], from: 22:00, to: 06:00}", "2026-11-27T22:00:00Z", true),
            ("{days: [fri], from: 22:00, to: 06:00}", "2026-11-28T05:59:59Z", true),
            ("{days: [fri], from: 22:00, to: 06:00}", "2026-11-28T06:00:00Z", false),
            ("{days: [fri], from: 22:00, to: 06:00}", "2026-11-27T05:00:00Z", false),
            ("{days: [sun], from: 22:00, to: 06:00}", "2026-11-30T05:00:00Z", true),
            ("{days: [sun], from: 22:00, to: 06:00}", "2026-11-23T05:00:00Z", true),
            ("{from: 22:00, to: 06:00}", "2026-11-25T12:00:00Z", false),
            // Offsets move the day too: Monday 00:30 at +05:30 is Sunday 19:00 UTC.
            ("{days: [mon], from: 00:00, to: 01:00, utcOffset: +05:30}", "2026-11-22T19:00:00Z", true),
            ("{days: [mon], from: 00:00, to: 01:00, utcOffset: +05:30}", "2026-11-23T00:30:00Z", false),
            ("{days: [sun], from: 23:00, to: 24:00, utcOffset: -08:00}", "2026-11-23T07:30:00Z", true),
            ("{days: [sun], from: 23:00, to: 24:00, utcOffset: -08:00}", "2026-11-23T08:00:00Z", false),
            ("{days: [tue], utcOffset: +14:00}", "2026-11-23T10:00:00Z", true),
            ("{days: [sun], utcOffset: -14:00}", "2026-11-23T13:59:59Z", true),
            // Leap days, and years that are none: 2028-02-29 is a Tuesday, 2100-03-01 a Monday.
            ("{days: [tue]}", "2028-02-29T12:00:00Z", true), ("{days: [wed]}", "2028-02-29T12:00:00Z", false),
            ("{days: [wed]}", "2028-03-01T00:00:00Z", true), ("{days: [tue]}", "2000-02-29T23:59:59Z", true),
            ("{days: [mon]}", "2100-03-01T00:00:00Z", true), ("{days: [sun]}", "2100-02-28T23:59:59Z", true),
            // Before 1970.
            ("{days: [wed]}", "1969-12-31T23:59:59Z", true), ("{days: [thu]}", "1970-01-01T00:00:00Z", true),
        ])
    func times(window: String, time: String, isWithin: Bool) throws {
        let request = AccessRequest.own(.encrypt).with { $0.time = try? Date(time, strategy: .iso8601) }
        #expect(request.time != nil)
        #expect(try holds("times: [\(window)]", request) == isWithin)
        // A window more that never holds then changes nothing.
        #expect(try holds("times: [\(window), {days: [thu], from: 03:00, to: 03:01}]", request) == isWithin)
    }

    @Test("weekdays are those of a calendar")
    func calendar() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(secondsFromGMT: 0))
        let names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
        let policies = try names.map { day in
            try policy(
                """
                  - {name: r, effect: allow, who: {anyone: true}, actions: [audit], when: {times: [{days: [\(day)]}]}}
                """)
        }
        for day in stride(from: -40_000, to: 80_000, by: 53) {
            let date = Date(timeIntervalSince1970: Double(day) * 86_400 + 43_199.5)
            let request = AccessRequest.own(.audit).with { $0.time = date }
            let allowed = policies.indices.filter { policies[$0].decide(request).isAllowed }
            #expect(allowed == [calendar.component(.weekday, from: date) - 1], "\(date)")
        }
    }

    @Test("what is not known matches no allow rule, and every deny rule")
    func unknown() throws {
        let request = AccessRequest.own(.encrypt)
        for condition in [
            "times: [{days: [mon]}]", "networks: [0.0.0.0/0, '::/0']", "decryptionsLeft: 1",
            "audience: [owner, shared]",
        ] {
            #expect(try holds(condition, request) == nil, "\(condition)")
        }
        for time in [Double.nan, .infinity, -.infinity, 1e300] {
            let request = request.with { $0.time = Date(timeIntervalSince1970: time) }
            #expect(try holds("times: [{days: [mon]}]", request) == nil, "\(time)")
        }
        // One condition that does not hold is enough to know that not all do.
        let ten = request.with { $0.decryptionsLeft = .count(10) }
        #expect(try holds("networks: [10.0.0.0/8]\n      decryptionsLeft: 11", ten) == false)
        #expect(try holds("networks: [10.0.0.0/8]\n      decryptionsLeft: 10", ten) == nil)
    }

    @Test(
        "networks",
        arguments: [
            ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.255.255.255", true), ("0.0.0.0/0", "::1", false), ("'::/0'", "::1", true),
            ("'::/0'", "1.2.3.4", false), ("'::/0'", "::ffff:1.2.3.4", false), ("0.0.0.0/0", "::ffff:1.2.3.4", true),
            ("10.1.2.3", "10.1.2.3", true), ("10.1.2.3/32", "10.1.2.2", false), ("10.1.2.2/31", "10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true), ("10.0.0.0/8", "::ffff:a01:203", true),
            ("10.0.0.0/8", "::10.1.2.3", false), ("'::ffff:10.0.0.0/104'", "10.1.2.3", true),
            ("'::ffff:0:0/96'", "192.0.2.1", true), ("'::ffff:10.1.2.3'", "10.1.2.3", true),
            ("'2001:db8::/32'", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("'2001:db8::/32'", "2001:db9::", false), ("'2001:db8::1/128'", "2001:db8::1", true),
            ("'2001:db8::1/128'", "2001:db8::2", false), ("'2001:db8::1'", "2001:0DB8:0:0:0:0:0:1", true),
            ("'8000::/1'", "ffff::", true), ("'8000::/1'", "7fff::", false), ("128.0.0.0/1", "127.255.255.255", false),
        ])
    func networks(network: String, address: String, isWithin: Bool) throws {
        let address = try #require(IPAddress(address))
        let request = AccessRequest.own(.encrypt).with { $0.address = address }
        #expect(try holds("networks: [\(network)]", request) == isWithin)
        #expect(try holds("networks: [192.0.2.255, \(network)]", request) == isWithin)
    }

    @Test("decryptions left and audience")
    func budgetAndAudience() throws {
        let request = AccessRequest.own(.encrypt)
        for (left, holds) in [
            (AccessRequest.DecryptionsLeft.count(9), false), (.count(10), true), (.count(11), true), (.count(0), false),
            (.unlimited, true),
        ] {
            #expect(try self.holds("decryptionsLeft: 10", request.with { $0.decryptionsLeft = left }) == holds)
        }
        for audience in AccessRequest.Audience.allCases {
            let request = request.with { $0.audience = audience }
            #expect(try holds("audience: [owner]", request) == (audience == .owner))
            #expect(try holds("audience: [shared]", request) == (audience == .shared))
            #expect(try holds("audience: [owner, shared]", request) == true)
        }
    }
}
