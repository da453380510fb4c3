import Crypto
import Foundation
import HKMSClient
import ServiceKit
import Testing

/// Callers named by a real issuer: OpenBao's identity tokens, over TLS.
@Suite(.serialized) struct IdentityTests {
    @Test("tokens of an issuer name their users, and keys that it rotates are found")
    func openBao() async throws {
        let bao = try OpenBaoIssuer()
        try await Installation.use(tls: true) { installation in
            try await installation.believe(bao)

            let token = try bao.token()
            let carol = try installation.client(token)
            let keySet = try await carol.register(
                RegisterRequest(requestId: "r", mode: "envelope", preset: "ckks-12", release: "raw")
            ).body.id
            #expect(try await carol.keySets().body.keySets.map(\.id) == [keySet])
            // The static tokens go on beside it, and are other people.
            #expect(try await installation.alice.keySets().body.keySets.isEmpty)
            await expectProblem("unknown-key-set") { _ = try await installation.alice.keySet(keySet) }

            // For another audience, altered, and of an issuer that calls itself the same but is not.
            for bad in [
                try bao.token(role: bao.otherRole), token.replacingOccurrences(of: ".", with: ".e"),
                String(token.dropLast(4)) + "AAAA",
            ] {
                let nobody = try installation.client(bad)
                await expectProblem("unauthenticated", status: 401) { _ = try await nobody.keySets() }
                await nobody.shutdown()
            }

            try bao.rotate()
            let renewed = try installation.client(try bao.token())
            var answers = 0
            // Keys are asked for again ten seconds after the last time, at most.
            for _ in 0..<60 where answers == 0 {
                do {
                    answers = try await renewed.keySets().body.keySets.count
                } catch HKMSClientError.problem(let problem) where problem.status == 401 {
                    try await Task.sleep(for: .milliseconds(500))
                }
            }
            #expect(answers == 1)
            await carol.shutdown()
            await renewed.shutdown()
        }
    }

    @Test("a token that its issuer bound to a certificate is good over that certificate's connections alone")
    func bound() async throws {
        let bao = try OpenBaoIssuer()
        try await Installation.use(tls: true) { installation in
            let authority = try TestAuthority(of: installation)
            let own = try authority.issue("own", "URI:spiffe://test/own")
            let other = try authority.issue("other", "URI:spiffe://test/other")
            try installation.takeCertificates(of: "    - name: spiffe://test/other\n")
            try await installation.believe(bao)

            let der = installation.folder.appendingPathComponent("own.der")
            let made = try Programs.run(
                "/usr/bin/openssl", ["x509", "-in", own.certificate, "-outform", "DER", "-out", der.path])
            try #require(made.status == 0, "\(made.error)")
            let thumbprint = Base64URL.encode(Array(SHA256.hash(data: try Data(contentsOf: der))))
            let token = try bao.token(boundTo: thumbprint)
            let bound = try installation.client(own, token: token)
            #expect(try await bound.keySets().body.keySets.isEmpty)
            await bound.shutdown()
            // Over another's certificate, which is a caller's by itself, and over none.
            for certificate in [other, nil] {
                let thief = try installation.client(certificate, token: token)
                await expectProblem("unauthenticated", status: 401) { _ = try await thief.keySets() }
                await thief.shutdown()
            }
        }
    }
}

/// One user and two roles at the server.
private struct OpenBaoIssuer {
    let audience = "hkms-\(UUID().uuidString.lowercased())"
    let otherRole: String
    private let server: OpenBaoServer
    private let name: String
    private let userToken: String

    init() throws {
        let server = try OpenBaoServer()
        let name = "hkms-\(UUID().uuidString.lowercased())"
        let password = UUID().uuidString
        try server.call("POST", "identity/oidc/config", #"{"issuer": "\#(server.address)"}"#)
        try server.call("POST", "identity/oidc/key/\(name)", #"{"algorithm": "ES256", "allowed_client_ids": ["*"]}"#)
        for (role, audience) in [(name, audience), (name + "-other", "elsewhere")] {
            try server.call(
                "POST", "identity/oidc/role/\(role)",
                #"{"key": "\#(name)", "client_id": "\#(audience)", "ttl": "5m"}"#)
        }
        // Where another test has made it already, it stays.
        try server.call("POST", "sys/auth/userpass", #"{"type": "userpass"}"#, mayFail: true)
        let policy = #"path \"identity/oidc/token/*\" {capabilities = [\"read\"]}"#
        try server.call("PUT", "sys/policies/acl/\(name)", #"{"policy": "\#(policy)"}"#)
        try server.call(
            "POST", "auth/userpass/users/\(name)", #"{"password": "\#(password)", "token_policies": ["\#(name)"]}"#)
        let login = try server.call("POST", "auth/userpass/login/\(name)", #"{"password": "\#(password)"}"#)
        userToken = try Self.text(login, "auth", "client_token")
        otherRole = name + "-other"
        self.server = server
        self.name = name
    }

    var issuer: String { server.address + "/v1/identity/oidc" }
    var authorities: String { server.authorities }

    func token(role: String? = nil) throws -> String {
        let answer = try server.call("GET", "identity/oidc/token/\(role ?? name)", token: userToken)
        return try Self.text(answer, "data", "token")
    }

    /// A token for whoever shows the certificate with this thumbprint (RFC 8705).
    func token(boundTo thumbprint: String) throws -> String {
        // Two braces side by side would be a placeholder's.
        let role = [
            "key": name, "client_id": audience, "ttl": "5m", "template": #"{"cnf": {"x5t#S256": "\#(thumbprint)"} }"#,
        ]
        let body = try JSONSerialization.data(withJSONObject: role)
        try server.call("POST", "identity/oidc/role/\(name)-bound", String(decoding: body, as: UTF8.self))
        return try token(role: name + "-bound")
    }

    /// The old key goes at once.
    func rotate() throws {
        try server.call("POST", "identity/oidc/key/\(name)/rotate", #"{"verification_ttl": "0"}"#)
    }

    private static func text(_ json: String, _ path: String...) throws -> String {
        var value = try JSONSerialization.jsonObject(with: Data(json.utf8))
        for member in path { value = try #require((value as? [String: Any])?[member], "\(json.prefix(300))") }
        return try #require(value as? String)
    }
}

extension Installation {
    /// Has the gateway take tokens of an issuer, beside static ones.
    fileprivate func believe(_ bao: OpenBaoIssuer) async throws {
        try edit(configurationFile) { yaml in
            yaml.replacingOccurrences(
                of: "identity:",
                with: """
                    identity:
                      oidc:
                        - issuer: \(bao.issuer)
                          audiences: [\(bao.audience)]
                          algorithms: [ES256]
                          authorities: \(bao.authorities)
                    """)
        }
        try await restart()
    }

    fileprivate func client(_ token: String) throws -> HKMSClient {
        try HKMSClient(
            address: gatewayURL, token: token, caCertificateFile: folder.appendingPathComponent("tls/ca.pem").path)
    }
}
