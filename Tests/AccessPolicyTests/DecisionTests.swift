import AccessPolicy
import ServiceKit
import Testing

@Suite struct DecisionTests {
    @Test("the rule that decided is named with file and line; a deny rule wins wherever it stands")
    func reasons() throws {
        let allow = """
              - name: own
                effect: allow
                who: {anyone: true}
                actions: [encrypt, decrypt.job]
                keySets: {own: true}

            """
        let deny = """
              - name: not-bob
                effect: deny
                who: {subjects: [bob]}
                actions: [decrypt.job]

            """
        for (text, allowLine, denyLine) in [(allow + deny, 3, 8), (deny + allow, 7, 3)] {
            let policy = try policy(text)
            let allowed = policy.decide(.own(.encrypt))
            #expect(allowed.isAllowed && allowed.description == "allowed by rule own (p.yaml:\(allowLine))")
            #expect(allowed.policyDigest == policy.digest)
            let denied = policy.decide(.own(.decryptJob, by: principal("bob")))
            #expect(!denied.isAllowed && denied.description == "denied by rule not-bob (p.yaml:\(denyLine))")
            let none = policy.decide(.own(.destroy))
            #expect(!none.isAllowed && none.description == "denied: no rule")
            #expect(try policy.require(.own(.encrypt)) == allowed)
            do throws(AccessDenied) {
                try policy.require(.own(.decryptJob, by: principal("bob")))
                Issue.record("was allowed")
            } catch {
                #expect(error.decision == denied && error.problem.status == 403)
                #expect(error.problem.name == "not-permitted" && !error.problem.detail.contains("not-bob"))
            }
        }
    }

    @Test("who: every list that is there counts, a list of groups by any of them")
    func who() throws {
        let policy = try policy(
            """
              - name: r
                effect: allow
                who: {issuers: [static], subjects: [alice, bob], groups: [a, b], tenants: [t]}
                actions: [encrypt]
                keySets: {any: true}
            """)
        #expect(policy.decide(.own(.encrypt, by: principal(groups: ["b", "x"]))).isAllowed)
        for other in [
            principal("carol", groups: ["a"]), principal(groups: ["c"]), principal(),
            principal(groups: ["a"], issuer: "https://id.example"), principal(groups: ["a"], tenant: "u"),
        ] {
            #expect(!policy.decide(.own(.encrypt, by: other)).isAllowed, "\(other)")
        }
    }

    @Test(
        "names are compared byte for byte",
        arguments: [
            ("alice", "Alice"), ("alice", "alice "), ("alice", "\u{0430}lice"), ("caf\u{E9}", "cafe\u{301}"),
            ("\u{212B}", "\u{C5}"), ("ﬁ", "fi"), ("straße", "STRASSE"), ("a\u{200D}b", "ab"), ("１", "1"),
        ])
    func lookAlikes(one: String, other: String) throws {
        for (named, asking) in [(one, other), (other, one)] {
            for key in ["issuers", "subjects", "groups", "tenants"] {
                let policy = try policy(
                    """
                      - {name: r, effect: allow, who: {\(key): ["\(named)"]}, actions: [audit]}
                    """)
                func principal(_ name: String) -> Principal {
                    Principal(
                        issuer: key == "issuers" ? name : "i", subject: key == "subjects" ? name : "s",
                        tenant: key == "tenants" ? name : "t", groups: key == "groups" ? [name] : [])
                }
                func request(_ name: String) -> AccessRequest {
                    AccessRequest(.audit, by: principal(name), tenant: principal(name).tenant)
                }
                #expect(policy.decide(request(named)).isAllowed)
                #expect(!policy.decide(request(asking)).isAllowed, "\(key) \(named) \(asking)")
            }
            // An owner whose name only looks like the principal's, and a tenant, and a group.
            let own = try policy(
                """
                  - {name: r, effect: allow, who: {anyone: true}, actions: [show], keySets: {own: true, myGroups: true}}
                """)
            let request = AccessRequest.own(.show, by: principal(named, groups: [named], tenant: named))
            #expect(own.decide(request).isAllowed)
            #expect(
                !own.decide(request.with { $0.owner = .init(kind: .user, issuer: "static", name: asking) }).isAllowed)
            #expect(!own.decide(request.with { $0.owner = .init(kind: .user, issuer: asking, name: named) }).isAllowed)
            #expect(!own.decide(request.with { $0.tenant = asking }).isAllowed)
            #expect(
                !own.decide(request.with { $0.owner = .init(kind: .group, issuer: "static", name: asking) }).isAllowed)
            #expect(
                own.decide(request.with { $0.owner = .init(kind: .group, issuer: "static", name: named) }).isAllowed)
        }
    }

    /// What a selector says of a key set of each owner.
    @Test func keySets() throws {
        let alice = principal(groups: ["a", "b"])
        func owned(_ kind: AccessRequest.Owner.Kind, _ name: String, issuer: String = "static") -> AccessRequest {
            AccessRequest.own(.show, by: alice).with { $0.owner = .init(kind: kind, issuer: issuer, name: name) }
        }
        let requests: [(name: String, request: AccessRequest)] = [
            ("own", owned(.user, "alice")), ("bob's", owned(.user, "bob")), ("a's", owned(.group, "a")),
            ("c's", owned(.group, "c")), ("other issuer's alice", owned(.user, "alice", issuer: "x")),
            ("other issuer's a", owned(.group, "a", issuer: "x")), ("group alice", owned(.group, "alice")),
            ("user a", owned(.user, "a")), ("nobody knows", owned(.user, "").with { $0.owner = nil }),
            ("ks-2", owned(.user, "bob").with { $0.keySet = .id("ks-2") }),
        ]
        for (selector, allowed, denied) in [
            ("own: true", ["own"], ["own", "nobody knows"]),
            ("myGroups: true", ["a's"], ["a's", "nobody knows"]),
            ("groups: [a, c]", ["a's", "c's"], ["a's", "c's", "other issuer's a", "nobody knows"]),
            ("ids: [ks-2]", ["ks-2"], ["ks-2"]),
            ("own: true, ids: [ks-2]", ["own", "ks-2"], ["own", "ks-2", "nobody knows"]),
            ("any: true", requests.map(\.name), requests.map(\.name)),
        ] {
            let rule = "who: {anyone: true}, actions: [show], keySets: {\(selector)}"
            let allow = try policy("  - {name: r, effect: allow, \(rule)}")
            let deny = try policy(
                "  - {name: r, effect: deny, \(rule)}\n"
                    + "  - {name: all, effect: allow, who: {anyone: true}, actions: [show], keySets: {any: true}}")
            for (name, request) in requests {
                #expect(allow.decide(request).isAllowed == allowed.contains(name), "\(selector): \(name)")
                #expect(!deny.decide(request).isAllowed == denied.contains(name), "deny \(selector): \(name)")
            }
        }
    }

    @Test("a new key set has no id; one that is not known may have any")
    func ids() throws {
        let rule = "who: {anyone: true}, actions: [register, predict], keySets: {ids: [ks-1]}"
        let all = "  - {name: all, effect: allow, who: {anyone: true}, actions: [all], keySets: {any: true}}"
        let policy = try policy("  - {name: r, effect: deny, \(rule)}\n\(all)")
        let request = AccessRequest.own(.predict)
        #expect(!policy.decide(request).isAllowed)
        #expect(policy.decide(request.with { $0.keySet = .id("ks-2") }).isAllowed)
        #expect(policy.decide(request.with { $0.keySet = .new }).isAllowed)
        #expect(!policy.decide(request.with { $0.keySet = nil }).isAllowed)
        #expect(policy.decide(.own(.register)).isAllowed)
    }

    @Test(
        "patterns of models",
        arguments: [
            ("heart", "heart", true), ("heart", "hearts", false), ("heart-*", "heart-", true),
            ("heart-*", "heart", false), ("*", "", true), ("*", "x", true), ("*-2", "a-2-2", true),
            ("a*b*c", "a-b-b-c", true), ("a*b*c", "acb", false), ("**a**", "a", true), ("*a", "b", false),
            ("A*", "a", false), ("a.c", "abc", false), ("a?c", "abc", false), ("caf\u{E9}*", "cafe\u{301}", false),
            ("*aaaaaaaab", String(repeating: "a", count: 200), false),
        ])
    func models(pattern: String, name: String, matches: Bool) throws {
        let policy = try policy(
            """
              - name: r
                effect: allow
                who: {anyone: true}
                actions: [predict]
                keySets: {any: true}
                models: ["\(pattern)"]
            """)
        #expect(policy.decide(.own(.predict).with { $0.model = name }).isAllowed == matches)
        #expect(!policy.decide(.own(.predict)).isAllowed)
    }

    @Test("to deny a part of an action is to deny the action; to allow a part is not to allow it")
    func parts() throws {
        let all = "  - {name: all, effect: allow, who: {anyone: true}, actions: [all], keySets: {any: true}}\n"
        for (part, whole) in [
            ("decrypt.job", [AccessAction.decryptJob, .decryptAny, .predict]), ("encrypt", [.encrypt, .predict]),
            ("evaluate", [.evaluate, .predict]), ("decrypt.any", [.decryptAny]), ("predict", [.predict]),
        ] {
            let deny = try policy(all + "  - {name: no, effect: deny, who: {anyone: true}, actions: [\(part)]}")
            let allow = try policy(
                "  - {name: r, effect: allow, who: {anyone: true}, actions: [\(part)], keySets: {any: true}}")
            for action in AccessAction.allCases where action.concernsKeySet {
                #expect(deny.decide(.own(action)).isAllowed == !whole.contains(action), "\(part) \(action)")
                #expect(allow.decide(.own(action)).isAllowed == (action.rawValue == part), "\(part) \(action)")
            }
        }
    }

    @Test("all is every action that is for what the rule selects")
    func all() throws {
        let deny = try policy(
            """
              - {name: models, effect: allow, who: {anyone: true}, actions: [models.list, audit]}
              - {name: sets, effect: allow, who: {anyone: true}, actions: [all], keySets: {any: true}}
              - {name: no, effect: deny, who: {subjects: [eve]}, actions: [all]}
              - {name: not-this, effect: deny, who: {subjects: [bob]}, actions: [all], keySets: {own: true}}
              - {name: model, effect: deny, who: {subjects: [carol]}, actions: [all], models: [m]}
            """)
        for action in AccessAction.allCases {
            func isAllowed(_ name: String) -> Bool {
                deny.decide(.own(action, by: principal(name)).with { $0.model = "m" }).isAllowed
            }
            #expect(isAllowed("alice") && !isAllowed("eve"))
            #expect(isAllowed("bob") == !action.concernsKeySet)
            // decrypt.any decrypts what is of a model too.
            #expect(isAllowed("carol") == !(action.concernsModel || action == .decryptAny), "\(action)")
        }
    }

    @Test("a rule reaches another tenant's key sets only where it says so; own and myGroups never do")
    func tenants() throws {
        let alice = principal(groups: ["g"])
        let foreign = AccessRequest.own(.show, by: alice).with { $0.tenant = "u" }
        let group = foreign.with { $0.owner = .init(kind: .group, issuer: "static", name: "g") }
        func decide(_ request: AccessRequest, _ selector: String, _ more: String) throws -> Bool {
            try policy(
                "  - {name: r, effect: allow, who: {anyone: true}, actions: [show], keySets: {\(selector)}\(more)}"
            ).decide(request).isAllowed
        }
        for selector in ["own: true, myGroups: true", "groups: [g]", "ids: [ks-1]", "any: true"] {
            #expect(try !decide(foreign, selector, "") && !decide(group, selector, ""))
        }
        let across = ", acrossTenants: true"
        #expect(try !decide(foreign, "own: true, myGroups: true", across))
        #expect(try !decide(group, "own: true, myGroups: true", across))
        #expect(try decide(group, "groups: [g]", across) && !decide(foreign, "groups: [g]", across))
        #expect(try decide(foreign, "ids: [ks-1]", across) && decide(foreign, "any: true", across))
        // A deny rule holds there without saying so.
        let denied = try policy(
            """
              - name: r
                effect: allow
                who: {anyone: true}
                actions: [show]
                keySets: {any: true}
                acrossTenants: true
              - {name: no, effect: deny, who: {subjects: [alice]}, actions: [show]}
            """)
        #expect(denied.decide(foreign).ruleName == "no")
    }

    @Test("an explanation decides as the decision does, and gives each rule its reason")
    func explanation() throws {
        let policy = try policy(
            """
              - {name: action, effect: allow, who: {anyone: true}, actions: [audit]}
              - {name: subject, effect: allow, who: {subjects: [bob]}, actions: [encrypt], keySets: {any: true}}
              - {name: group, effect: allow, who: {groups: [g]}, actions: [encrypt], keySets: {any: true}}
              - {name: issuer, effect: allow, who: {issuers: [x]}, actions: [encrypt], keySets: {any: true}}
              - {name: tenant, effect: allow, who: {tenants: [x]}, actions: [encrypt], keySets: {any: true}}
              - {name: id, effect: allow, who: {anyone: true}, actions: [encrypt], keySets: {ids: [ks-9]}}
              - {name: model, effect: allow, who: {anyone: true}, actions: [encrypt], keySets: {any: true}, models: [m]}
              - name: network
                effect: allow
                who: {anyone: true}
                actions: [encrypt]
                keySets: {any: true}
                when: {networks: [10.0.0.0/8]}
              - name: unless
                effect: deny
                who: {anyone: true}
                actions: [encrypt]
                unless: {decryptionsLeft: 1}
              - {name: yes, effect: allow, who: {anyone: true}, actions: [encrypt], keySets: {own: true}}
            """)
        let request = AccessRequest.own(.encrypt).with { $0.decryptionsLeft = .unlimited }
        let explanation = policy.explain(request)
        #expect(explanation.decision == policy.decide(request) && explanation.decision.ruleName == "yes")
        let reasons = Dictionary(uniqueKeysWithValues: explanation.rules.map { ($0.rule.name, $0.mismatch) })
        #expect(
            reasons == [
                "action": "it is for other actions", "subject": "who.subjects: it is for other subjects",
                "group": "who.groups: the principal is in none of its groups",
                "issuer": "who.issuers: it is for principals of other issuers",
                "tenant": "who.tenants: it is for principals of other tenants",
                "id": "keySets: it is for other key sets", "model": "models: no model is named",
                "network": "when.networks: the address is not known", "unless": "unless: this exception holds",
                "yes": String?.none,
            ])
    }
}
