import Crypto
import Foundation
import IdentityOIDC
import JWTKit
import Logging
import ServiceKit
import Synchronization
import Testing

/// What RFC 8725 warns of, tried against the authenticator.
@Suite struct OIDCAuthenticatorTests {
    private static let now = Date(timeIntervalSince1970: 1_800_000_000)

    private static func claims(_ issuer: String, _ changes: [String: String?] = [:]) -> String {
        var members: [String: String] = [
            "iss": "\"\(issuer)\"", "sub": "\"alice\"", "aud": "[\"other\", \"hkms\"]",
            "exp": "\(Int(now.timeIntervalSince1970) + 300)", "iat": "\(Int(now.timeIntervalSince1970))",
            "groups": "[\"radiology\", \"research\"]",
        ]
        for (name, value) in changes { members[name] = value }
        return "{" + members.map { "\"\($0.key)\": \($0.value)" }.sorted().joined(separator: ", ") + "}"
    }

    private static func authenticator(
        _ issuer: TestIssuer, tenant: String? = nil, groups: String = "groups",
        algorithms: [OIDCConfiguration.Algorithm] = [.rs256, .es256, .edDSA], lifetime: Duration = .seconds(3600)
    ) throws -> OIDCAuthenticator {
        try OIDCAuthenticator(
            configuration: OIDCConfiguration(
                issuer: issuer.url, audiences: ["hkms"], algorithms: algorithms,
                groups: .init(groups), tenant: tenant.map { .init($0) }, fixedTenant: "hospital",
                keyLifetime: lifetime),
            development: true, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, clock: { now })
    }

    @Test("a token of the issuer names its subject, groups and tenant")
    func accepted() async throws {
        try await TestIssuer.serving { issuer in
            let key = TestKey("k1")
            issuer.state.withLock { $0.keys = [key.entry] }
            let authenticator = try Self.authenticator(issuer)
            let alice = try await authenticator.authenticate(
                bearer: key.token(Self.claims(issuer.url), keyID: "k1"))
            #expect(
                alice
                    == Principal(
                        issuer: issuer.url, subject: "alice", tenant: "hospital", groups: ["radiology", "research"]))
            // With no key named, the only one is it.
            #expect(
                try await authenticator.authenticate(bearer: key.token(Self.claims(issuer.url), keyID: nil)) == alice)
            let claimed = try Self.authenticator(issuer, tenant: "https://hkms.example/tenant", groups: "/realm/roles")
            let token = try key.token(
                Self.claims(
                    issuer.url,
                    ["https://hkms.example/tenant": "\"clinic\"", "realm": "{\"roles\": \"one\"}"]), keyID: "k1")
            let bob = try await claimed.authenticate(bearer: token)
            #expect(bob?.tenant == "clinic" && bob?.groups == ["one"])
            // Where the tenant is to be claimed, nobody is of none.
            #expect(
                try await claimed.authenticate(bearer: key.token(Self.claims(issuer.url), keyID: "k1")) == nil)
            await authenticator.shutdown()
            await claimed.shutdown()
        }
    }

    @Test("every claim that is not as it must be makes a token nobody's")
    func claimsRefused() async throws {
        try await TestIssuer.serving { issuer in
            let key = TestKey("k1")
            issuer.state.withLock { $0.keys = [key.entry] }
            let authenticator = try Self.authenticator(issuer)
            let now = Int(Self.now.timeIntervalSince1970)
            let wrong: [[String: String?]] = [
                ["iss": "\"\(issuer.url)/\""], ["iss": "\"https://elsewhere\""], ["iss": nil],
                ["aud": "\"other\""], ["aud": "[]"], ["aud": nil], ["aud": "\"hkms \""], ["aud": "[\"hkms\", 1]"],
                ["exp": "\(now - 61)"], ["exp": nil], ["exp": "\"\(now + 300)\""], ["exp": "true"],
                ["nbf": "\(now + 61)"], ["nbf": "\"soon\""], ["iat": "\(now + 61)"],
                ["sub": nil], ["sub": "\"\""], ["sub": "7"], ["sub": "\"a\\nb\""],
                ["sub": "\"\(String(repeating: "a", count: 257))\""], ["groups": "[1]"], ["groups": "{}"],
                ["groups": "[\"\"]"],
            ]
            for changes in wrong {
                let token = try key.token(Self.claims(issuer.url, changes), keyID: "k1")
                #expect(try await authenticator.authenticate(bearer: token) == nil, "\(changes)")
            }
            // Within what clocks may differ by.
            for changes in [["exp": "\(now - 59)"], ["nbf": "\(now + 59)"], ["iat": "\(now + 59)"], ["groups": nil]] {
                let token = try key.token(Self.claims(issuer.url, changes), keyID: "k1")
                #expect(try await authenticator.authenticate(bearer: token) != nil, "\(changes)")
            }
            await authenticator.shutdown()
        }
    }

    @Test("a token that is bound to a certificate is good over that one alone; one that is bound otherwise never is")
    func bound() async throws {
        try await TestIssuer.serving { issuer in
            let key = TestKey("k1")
            issuer.state.withLock { $0.keys = [key.entry] }
            let authenticator = try Self.authenticator(issuer)
            let thumbprint = [UInt8](repeating: 7, count: 32)
            let own = ClientCertificate(names: [], thumbprint: thumbprint)
            let another = ClientCertificate(names: [], thumbprint: [UInt8](repeating: 8, count: 32))
            let name = Base64URL.encode(thumbprint)
            func principal(_ confirmation: String, _ certificate: ClientCertificate?) async throws -> Principal? {
                let token = try key.token(Self.claims(issuer.url, ["cnf": confirmation]), keyID: "k1")
                return try await authenticator.authenticate(bearer: token, over: certificate)
            }
            let good = "{\"x5t#S256\": \"\(name)\"}"
            #expect(try await principal(good, own)?.subject == "alice")
            #expect(try await principal(good, another) == nil)
            #expect(try await principal(good, nil) == nil)
            for wrong in [
                "{}", "[]", "null", "\"\(name)\"", "{\"x5t#S256\": \"\"}", "{\"x5t#S256\": null}",
                "{\"x5t#S256\": \"\(name)=\"}", "{\"x5t\": \"\(name)\"}", "{\"jkt\": \"\(name)\"}",
                "{\"x5t#S256\": \"\(name)\", \"jkt\": \"a\"}", "{\"x5t#S256\": [\"\(name)\"]}",
            ] {
                #expect(try await principal(wrong, own) == nil, "\(wrong)")
                #expect(try await principal(wrong, nil) == nil, "\(wrong)")
            }
            // One that is not bound is anybody's who has it.
            let bearer = try key.token(Self.claims(issuer.url), keyID: "k1")
            #expect(try await authenticator.authenticate(bearer: bearer, over: another)?.subject == "alice")
            await authenticator.shutdown()
        }
    }

    @Test("no algorithm, another one, the public key as a shared one, other keys, headers that must be understood")
    func signaturesRefused() async throws {
        try await TestIssuer.serving { issuer in
            let (key, other) = (TestKey("k1"), TestKey("k2"))
            issuer.state.withLock { $0.keys = [key.entry] }
            let authenticator = try Self.authenticator(issuer)
            let claims = Self.claims(issuer.url)
            let good = try key.token(claims, keyID: "k1")
            #expect(try await authenticator.authenticate(bearer: good) != nil)
            let parts = good.split(separator: ".").map(String.init)
            func header(_ json: String) -> String { Base64URL.encode(Array(json.utf8)) }

            var forged: [String] = []
            // No signature, under each spelling.
            for name in ["none", "None", "NONE", ""] {
                forged += [
                    "\(header("{\"alg\": \"\(name)\"}")).\(parts[1]).",
                    "\(header("{\"alg\": \"\(name)\"}")).\(parts[1]).\(parts[2])",
                ]
            }
            // The public key as the secret of an HMAC.
            let pem = Data(key.key.publicKey.pemRepresentation.utf8)
            for secret in [
                pem,
                try P256.Signing.PublicKey(pemRepresentation: key.key.publicKey.pemRepresentation).x963Representation,
            ] {
                let signed = header("{\"alg\": \"HS256\", \"kid\": \"k1\"}") + "." + parts[1]
                let mac = HMAC<SHA256>.authenticationCode(for: Data(signed.utf8), using: SymmetricKey(data: secret))
                forged.append(signed + "." + Base64URL.encode(Array(mac)))
            }
            // A key of the token's own, inside the token.
            forged.append(try other.token(claims, keyID: nil, header: ["jwk": .string(other.entry)]))
            forged.append(try other.token(claims, keyID: nil, header: ["jku": .string("\(issuer.url)/keys")]))
            // Another's signature, under the right name, none, and its own.
            for id in ["k1", nil, "k2", "../k1"] { forged.append(try other.token(claims, keyID: id)) }
            // What must be understood is not.
            forged.append(try key.token(claims, keyID: "k1", header: ["crit": .array([.string("exp")])]))
            // Another algorithm of the same key; another curve's name.
            forged.append(try key.token(claims, keyID: "k1", header: ["alg": .string("ES384")]))
            forged.append(try key.token(claims, keyID: "k1", header: ["alg": .string("es256")]))
            // Altered, cut, doubled.
            forged += [
                "\(parts[0]).\(header(claims.replacing("alice", with: "admin"))).\(parts[2])",
                "\(parts[0]).\(parts[1]).",
                "\(parts[0]).\(parts[1])", "\(good).\(parts[2])", ".\(parts[1]).\(parts[2])", "", "..", good + "=",
                "a.b.c", String(repeating: "a", count: 20_000),
            ]
            for token in forged {
                #expect(try await authenticator.authenticate(bearer: token) == nil, "\(token.prefix(120))")
            }
            // What is not allowed here is refused, however well it is signed.
            let narrow = try Self.authenticator(issuer, algorithms: [.edDSA])
            #expect(try await narrow.authenticate(bearer: good) == nil)
            await narrow.shutdown()
            await authenticator.shutdown()
        }
    }

    @Test("keys of unknown kinds leave the others in force, and a key for encryption checks no signature")
    func mixedKeys() async throws {
        try await TestIssuer.serving { issuer in
            let key = TestKey("k1")
            let encryption = TestKey("k3")
            issuer.state.withLock {
                $0.keys = [
                    "{\"kty\": \"PQC\", \"kid\": \"new\", \"pub\": \"AA\"}", "{\"kid\": 7}", "{}", "null",
                    "{\"kty\": \"EC\", \"crv\": \"P-999\", \"kid\": \"k9\", \"x\": \"\", \"y\": \"\"}",
                    "{\"kty\": \"oct\", \"kid\": \"k1\", \"k\": \"AAAA\"}",
                    encryption.entry.replacing("\"use\": \"sig\"", with: "\"use\": \"enc\""), key.entry,
                ]
            }
            let authenticator = try Self.authenticator(issuer)
            let claims = Self.claims(issuer.url)
            #expect(try await authenticator.authenticate(bearer: key.token(claims, keyID: "k1")) != nil)
            #expect(try await authenticator.authenticate(bearer: encryption.token(claims, keyID: "k3")) == nil)
            await authenticator.shutdown()
        }
    }

    @Test("a key that comes later is found, one that goes is forgotten, and tokens do not make the gateway ask")
    func rotation() async throws {
        try await TestIssuer.serving { issuer in
            let (old, new) = (TestKey("old"), TestKey("new"))
            issuer.state.withLock { $0.keys = [old.entry] }
            let claims = Self.claims(issuer.url)
            let authenticator = try Self.authenticator(issuer)
            #expect(try await authenticator.authenticate(bearer: old.token(claims, keyID: "old")) != nil)
            let asked = issuer.state.withLock { $0.questions }
            for _ in 0..<50 {
                #expect(try await authenticator.authenticate(bearer: new.token(claims, keyID: "new")) == nil)
            }
            #expect(issuer.state.withLock { $0.questions } == asked)
            await authenticator.shutdown()

            // Another gateway, which never saw the old key.
            issuer.state.withLock { $0.keys = [new.entry] }
            let fresh = try Self.authenticator(issuer)
            #expect(try await fresh.authenticate(bearer: new.token(claims, keyID: "new")) != nil)
            #expect(try await fresh.authenticate(bearer: old.token(claims, keyID: "old")) == nil)
            await fresh.shutdown()
        }
    }

    @Test("an issuer that does not answer, calls itself otherwise or shows no keys identifies nobody, by name")
    func unavailable() async throws {
        try await TestIssuer.serving { issuer in
            let key = TestKey("k1")
            let token = try key.token(Self.claims(issuer.url), keyID: "k1")
            func failure(_ change: (inout TestIssuer.State) -> Void) async throws -> OIDCError? {
                issuer.state.withLock {
                    $0 = .init(keys: [key.entry])
                    change(&$0)
                }
                let authenticator = try Self.authenticator(issuer)
                defer { Task { await authenticator.shutdown() } }
                do {
                    _ = try await authenticator.authenticate(bearer: token)
                    return nil
                } catch let error as OIDCError {
                    #expect(await authenticator.problems().count == 1)
                    return error
                }
            }
            #expect(try await failure { $0.isSilent = true } == .unreachable(issuer: issuer.url))
            #expect(
                try await failure {
                    $0.discovery = "{\"issuer\": \"https://evil\", \"jwks_uri\": \"\(issuer.url)/keys\"}"
                }
                    == .anotherIssuer(expected: issuer.url))
            #expect(
                try await failure {
                    $0.discovery = "{\"issuer\": \"\(issuer.url)\", \"jwks_uri\": \"file:///etc/passwd\"}"
                }
                    == .noKeys(issuer: issuer.url))
            #expect(try await failure { $0.discovery = "no JSON" } == .noKeys(issuer: issuer.url))
            #expect(try await failure { $0.keys = ["}"] } == .malformedKeys)
            #expect(try await failure { $0.keys = Array(repeating: key.entry, count: 101) } == .malformedKeys)
            #expect(try await failure { _ in } == nil)
        }
    }

    @Test("the configuration refuses shared keys, no audience and plain HTTP")
    func configuration() throws {
        func errors(_ text: String, development: Bool = false) throws -> String {
            let document = try YAMLDocument(text: text, name: "c.yaml")
            _ = OIDCConfiguration(document.root, tenant: "t", development: development, path: { $0 })
            do {
                try document.finish()
                return ""
            } catch { return "\(error)" }
        }
        let good = "issuer: https://login.example/realm\naudiences: [hkms]\n"
        #expect(try errors(good) == "")
        #expect(try errors(good + "algorithms: [HS256]\n").contains("shared key are refused"))
        #expect(try errors(good + "algorithms: [none]\n").contains("shared key are refused"))
        #expect(try errors("issuer: https://login.example\naudiences: []\n").contains("names none"))
        #expect(try errors("issuer: http://127.0.0.1:1\naudiences: [a]\n").contains("must be an https"))
        #expect(try errors("issuer: http://127.0.0.1:1\naudiences: [a]\n", development: true) == "")
        #expect(try errors("issuer: http://10.0.0.1\naudiences: [a]\n", development: true).contains("must be an https"))
        #expect(try errors("issuer: https://a?b=c\naudiences: [a]\n").contains("must be an https"))
        #expect(try errors("issuer: https://u@a\naudiences: [a]\n").contains("must be an https"))
    }
}
