import DataFiles
import Foundation
import HKMSClient
import ServiceKit
import Testing

/// Clients that keep to no rule of HTTP, by Tests/HostileClient: after each try others are served as before.
@Suite(.serialized) struct HostileClientTests {
    private func attack(_ name: String, _ installation: Installation) async throws {
        let keySet = try await installation.alice.register(
            RegisterRequest(requestId: "r", mode: "envelope", preset: "ckks-12", release: "raw")
        ).body.id
        let program = Programs.repository.appendingPathComponent("Tests/HostileClient/hostile_client.py").path
        var arguments = [
            "python3", program, name, "--port", "\(installation.gatewayPort)", "--token", installation.tokenFile,
            "--keyset", keySet, "--process", "\(installation.gatewayIdentifier)",
        ]
        if installation.tls {
            arguments += ["--ca", installation.folder.appendingPathComponent("tls/ca.pem").path]
        }
        let output = try Programs.run("/usr/bin/env", arguments, seconds: 240)
        #expect(output.status == 0, "\(name): \(output.out.prefix(3000))\(output.error.suffix(1000))")
        _ = try await installation.alice.keySet(keySet)
    }

    @Test(
        "requests that two readers would end at different places, oversize heads, tricks in paths, JSON bombs",
        arguments: ["smuggling", "heads", "paths", "bombs"])
    func messages(name: String) async throws {
        try await Installation.use { try await attack(name, $0) }
    }

    @Test("bodies that trickle and answers that nobody reads hold up no others, and do not pile up in memory")
    func slow() async throws {
        try await Installation.use { try await attack("slow", $0) }
    }

    @Test("connections that say nothing or too little hold up no others, and are closed in time")
    func silent() async throws {
        try await Installation.use(tls: true) { try await attack("silent", $0) }
    }

    @Test("rapid resets, continuations without end and other floods of HTTP/2 hold up no others")
    func http2() async throws {
        try await Installation.use(tls: true) { try await attack("http2", $0) }
    }

    // MARK: Ids of others

    /// A route with an id in it, as docs/api.md has it.
    private struct Route {
        let method: String
        let path: String
        var query = ""
        /// A file, or text with `{id}` in it.
        var body: Body = .none

        enum Body {
            case none
            case text(String)
            case bundle
        }
    }

    private static let keySetRoutes: [Route] = [
        Route(method: "GET", path: "/v1/keysets/{id}"),
        Route(method: "GET", path: "/v1/keysets/{id}/manifest"),
        Route(method: "GET", path: "/v1/keysets/{id}/public-key"),
        Route(method: "GET", path: "/v1/keysets/{id}/evaluation-keys"),
        Route(method: "GET", path: "/v1/keysets/{id}/evaluation-keys/relinearization"),
        Route(method: "GET", path: "/v1/keysets/{id}/evaluation-keys/galois/{element}"),
        Route(method: "POST", path: "/v1/keysets/{id}/encrypt", body: .text(#"{"vectors": [{"real": [1]}]}"#)),
        Route(method: "POST", path: "/v1/keysets/{id}/decrypt", query: "?count=1", body: .bundle),
        Route(method: "POST", path: "/v1/jobs", query: "?keyset={id}&model=heart-disease", body: .bundle),
        Route(
            method: "POST", path: "/v1/models/heart-disease/predict",
            body: .text(#"{"keySet": "{id}", "records": [{RECORD}]}"#)),
        Route(method: "DELETE", path: "/v1/keysets/{id}"),
    ]
    private static let jobRoutes: [Route] = [
        Route(method: "GET", path: "/v1/jobs/{id}"), Route(method: "GET", path: "/v1/jobs/{id}/results"),
    ]

    @Test("every route of the documentation that has an id in its path is among those that are tried")
    func routes() throws {
        let page = try String(
            contentsOf: Programs.repository.appendingPathComponent("docs/api.md"), encoding: .utf8)
        let gateway = try #require(page.components(separatedBy: "\n## Gateway\n").last)
            .components(separatedBy: "\n## ")[0]
        let documented = Set(
            gateway.matches(of: /\| `([A-Z]+) (\/v1\/[^`?]+)/).map { "\($0.1) \($0.2)" }.filter { $0.contains("{id}") })
        let tried = Set((Self.keySetRoutes + Self.jobRoutes).map { "\($0.method) \($0.path)" })
        #expect(documented.count >= 10 && documented.isSubset(of: tried), "\(documented.subtracting(tried))")
    }

    @Test("under every route another user's and another tenant's ids are answered as unknown ones are")
    func foreignIDs() async throws {
        try await Installation.use { installation in
            let tokens = installation.folder.appendingPathComponent("tokens.yaml")
            let (bob, mallory) = (StaticTokenFile.generateToken(), StaticTokenFile.generateToken())
            var text = try String(contentsOf: tokens, encoding: .utf8)
            for (subject, tenant, token) in [("other", "default", bob), ("mallory", "elsewhere", mallory)] {
                text += "  - subject: \(subject)\n    tenant: \(tenant)\n    groups: [g]\n"
                text += "    tokenSHA256: \(StaticTokenFile.tokenSHA256(token))\n"
            }
            try Data(text.utf8).write(to: tokens)
            installation.killGateway()
            try await installation.start()

            let alice = installation.alice
            let request = RegisterRequest(requestId: "r", mode: "envelope", model: "heart-disease", release: "raw")
            let active = try await alice.register(request).body.id
            let record = try RecordFile(Array(try Data(contentsOf: Installation.records))).records[0]
            let inputs = try await alice.encrypt(records: [record], model: "heart-disease", keySet: active).body
            let job = try await alice.finished(
                try await alice.openJob(keySet: active, model: "heart-disease", ciphertexts: inputs).body)
            let bundle = installation.folder.appendingPathComponent("foreign.bundle")
            try Data(OctetBundle.encode(inputs)).write(to: bundle)
            let destroyed = try await alice.register(
                RegisterRequest(requestId: "d", mode: "envelope", preset: "ckks-12", release: "raw")
            ).body.id
            _ = try await alice.destroy(keySet: destroyed)
            let recordText = String(decoding: try JSONEncoder().encode(record), as: UTF8.self)

            for token in [bob, mallory] {
                func answer(_ route: Route, _ id: String) throws -> String {
                    try Self.answer(
                        route, id, token: token, url: installation.gatewayURL, bundle: bundle.path,
                        record: recordText)
                }
                for (routes, ids, unknown) in [
                    (Self.keySetRoutes, [active, destroyed], "ks-" + String(repeating: "0", count: 32)),
                    (Self.jobRoutes, [job.id], String(repeating: "0", count: job.id.count)),
                ] {
                    for route in routes {
                        let expected = try answer(route, unknown)
                        #expect(expected.hasPrefix("404 "), "\(route.method) \(route.path): \(expected)")
                        for id in ids { #expect(try answer(route, id) == expected, "\(route.method) \(route.path)") }
                    }
                }
            }
            // All this has changed nothing.
            #expect(try await alice.keySet(active).body.state == "active")
            #expect(try await alice.job(job.id).body.state == job.state)
        }
    }

    /// Status, media type and problem, without the request's own id; the id that was asked for reads `ID`.
    private static func answer(
        _ route: Route, _ id: String, token: String, url: String, bundle: String, record: String
    ) throws -> String {
        func filled(_ text: String) -> String {
            text.replacingOccurrences(of: "{id}", with: id).replacingOccurrences(of: "{element}", with: "5")
                .replacingOccurrences(of: "{RECORD}", with: record)
        }
        var arguments = [
            "-s", "--noproxy", "*", "-X", route.method, "-H", "Authorization: Bearer \(token)", "-w",
            "\n%{http_code} %{content_type}",
        ]
        switch route.body {
        case .none: break
        case .text(let text): arguments += ["-H", "Content-Type: application/json", "-d", filled(text)]
        case .bundle: arguments += ["-H", "Content-Type: \(MediaType.bundle)", "--data-binary", "@" + bundle]
        }
        let output = try Programs.run("/usr/bin/curl", arguments + [url + filled(route.path + route.query)])
        let lines = output.out.split(separator: "\n", omittingEmptySubsequences: false)
        let body = lines.dropLast().joined(separator: "\n")
        var problem = try JSONDecoder().decode([String: ProblemMember].self, from: Data(body.utf8))
        problem["instance"] = nil
        let members = problem.map { "\($0.key)=\($0.value.text)" }.sorted().joined(separator: " ")
        return "\(lines.last ?? "") \(members)".replacingOccurrences(of: id, with: "ID")
    }

    private struct ProblemMember: Decodable {
        let text: String

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int.self) {
                text = "\(number)"
            } else {
                text = try container.decode(String.self)
            }
        }
    }
}
