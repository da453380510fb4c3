import Foundation
import KeyManagement
import SecretMemory
import Testing
import TrustedKMSOpenBao

/// docs/kms/openbao.md: its commands run as they stand, in a namespace of their own.
///
/// Those in blocks that begin with ```sh. What needs a running installation (`hkms`), or an alarm, is in blocks of
/// ```bash and is not run here.
@Suite struct OpenBaoPageTests {
    private static let context = SealingContext.forTests(["page"])
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../docs/kms").standardizedFileURL

    /// The blocks of shell commands.
    private static func commands() throws -> String {
        let page = try String(contentsOf: folder.appendingPathComponent("openbao.md"), encoding: .utf8)
        let blocks = page.components(separatedBy: "```sh\n").dropFirst().compactMap {
            $0.components(separatedBy: "\n```").first
        }
        return blocks.joined(separator: "\n")
    }

    /// Runs the page's commands; `bao` is the program that serves.
    private static func run(_ server: OpenBaoTestServer, in work: TemporaryFolder, namespace: String, subject: String)
        async throws
    {
        let binary = try OpenBaoTestServer.variable("HKMS_TEST_OPENBAO_BINARY")
        for (name, target) in [
            ("bao", binary), ("policies", folder.appendingPathComponent("policies").path),
        ] {
            try FileManager.default.createSymbolicLink(atPath: work.file(name), withDestinationPath: target)
        }
        _ = try work.write(try commands(), to: "commands")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-euo", "pipefail", work.file("commands")]
        process.currentDirectoryURL = URL(fileURLWithPath: work.path)
        process.environment = [
            "PATH": work.path + ":/usr/bin:/bin", "HOME": work.path, "BAO_ADDR": server.address,
            "BAO_TOKEN": server.token, "BAO_NAMESPACE": namespace, "ISSUER": server.address + "/v1/identity/oidc",
            "GATEWAY_SUBJECT": subject,
        ]
        try Data().write(to: URL(fileURLWithPath: work.file("log")))
        let log = FileHandle(forWritingAtPath: work.file("log"))
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = log
        process.standardError = log
        let status = try await withCheckedThrowingContinuation {
            (continuation: CheckedContinuation<Int32, any Error>) in
            process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        guard status == 0 else {
            throw ConformanceFailure(
                (try? String(contentsOfFile: work.file("log"), encoding: .utf8)) ?? "status \(status)")
        }
    }

    /// A user of the KMS's own OpenID Connect issuer, which stands in for the company's.
    private struct User {
        let subject: String
        let token: String

        init(_ server: OpenBaoTestServer, audience: String) async throws {
            let name = "user-\(UInt32.random(in: .min ... .max))"
            let policy = "path \"identity/oidc/token/*\" { capabilities = [\"read\"] }"
            try await server.administer("PUT", "sys/policies/acl/\(name)", ["policy": policy])
            try await server.administer("POST", "sys/auth/\(name)", ["type": "userpass"])
            try await server.administer(
                "POST", "auth/\(name)/users/\(name)", ["password": name, "token_policies": [name]])
            try await server.administer(
                "POST", "identity/oidc/key/\(name)", ["algorithm": "ES256", "allowed_client_ids": ["*"]])
            try await server.administer(
                "POST", "identity/oidc/role/\(name)", ["key": name, "client_id": audience, "ttl": "5m"])
            let login = try await server.administer("POST", "auth/\(name)/login/\(name)", ["password": name])
            let own = try #require((login["auth"] as? [String: Any])?["client_token"] as? String)
            subject = try #require((login["auth"] as? [String: Any])?["entity_id"] as? String)
            let answer = try await server.call("GET", "identity/oidc/token/\(name)", token: own)
            token = try #require((answer["data"] as? [String: Any])?["token"] as? String)
        }
    }

    @Test("its commands set up a KMS that a gateway and its users work with, and no more than that")
    func commandsSetUpAKMS() async throws {
        let server = try OpenBaoTestServer()
        let namespace = "page-\(UInt32.random(in: .min ... .max))"
        try await server.administer("POST", "sys/namespaces/\(namespace)")
        // Other tests of this server have an issuer of another name.
        try await server.administer("POST", "identity/oidc/config", ["issuer": server.address])
        let gateway = try await User(server, audience: "openbao")
        let work = try TemporaryFolder()
        try await Self.run(server, in: work, namespace: namespace, subject: gateway.subject)
        let seeds = try #require(KMSKeyName("hkms-seeds"))
        let roleID = try String(contentsOfFile: work.file("role-id"), encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        let appRole = OpenBaoAuthentication.appRole(
            roleID: roleID, secretIDFile: work.file("secret-id.wrapped"), wrapped: true)
        let delegation = OpenBaoDelegation(role: "hkms-user")
        let file = try work.write(gateway.token, to: "jwt")
        let workload = OpenBaoAuthentication.jwt(role: "hkms-gateway", tokenFile: file, mount: "jwt-workloads")

        try await server.withKMS(appRole, namespace: namespace, delegation: delegation) { kms in
            try await kms.checkHealth()
            try await Self.roundTrip(kms, seeds, as: .service)
            let description = try await kms.describeKey(seeds)
            #expect(description.latestVersion == 2 && description.minimumVersion == 2)
            guard case .denied = await failure({ try await kms.rotateKey(seeds) }) else {
                throw ConformanceFailure("the gateway rotates")
            }

            let alice = try await KMSCaller.holding(User(server, audience: "openbao").token)
            let bob = try await KMSCaller.holding(User(server, audience: "openbao").token)
            let key = try await kms.principalKey(of: alice)
            try await Self.roundTrip(kms, key, as: alice)
            let sealed = try await kms.generateDataKey(under: key, context: Self.context, as: alice).sealed
            for caller in [KMSCaller.service, bob] {
                guard
                    case .denied = await failure({
                        _ = try await kms.open(sealed, under: key, context: Self.context, as: caller)
                    })
                else { throw ConformanceFailure("\(caller) opens alice's") }
            }
            _ = try await kms.rewrap(sealed, under: key, context: Self.context, as: .service)
            try await server.withKMS(workload, namespace: namespace) { workload in
                _ = try await workload.rewrap(sealed, under: key, context: Self.context, as: .service)
            }

            // A JWT for the gateway's API is none for the KMS.
            let other = try await KMSCaller.holding(User(server, audience: "hkms").token)
            guard case .denied(let reason) = await failure({ _ = try await kms.principalKey(of: other) }),
                reason.contains("audience")
            else { throw ConformanceFailure("another audience") }
        }

        try await server.withKMS(workload, namespace: namespace) { kms in
            try await Self.roundTrip(kms, seeds, as: .service)
        }
        _ = try await work.write(User(server, audience: "openbao").token, to: "jwt")
        try await server.withKMS(workload, namespace: namespace) { kms in
            guard case .denied = await failure({ try await kms.checkHealth() }) else {
                throw ConformanceFailure("another subject is the gateway")
            }
        }

        // What `hkms init` does: it knows a token and a mount, and no namespace.
        for name in ["init.token", "secret-id.wrapped", "rotation.token"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: work.file(name))
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
        }
        let initial = OpenBaoAuthentication.tokenFile(work.file("init.token"))
        try await server.withKMS(initial, mount: "\(namespace)/transit") { kms in
            try await kms.requireKey(seeds)
            try await Self.roundTrip(kms, seeds, as: .service)
            #expect(try await kms.random(count: 32).count == 32)
        }
        // What `hkms kms rotate --retire` does.
        let rotation = OpenBaoAuthentication.tokenFile(work.file("rotation.token"))
        try await server.withKMS(rotation, namespace: namespace) { kms in
            try await kms.rotateKey(seeds)
            try await Self.roundTrip(kms, seeds, as: .service)
            try await kms.setMinimumVersion(3, of: seeds)
            try await kms.destroyVersions(below: 3, of: seeds)
        }
    }

    private static func roundTrip(_ kms: OpenBaoKMS, _ key: KMSKeyName, as caller: KMSCaller) async throws {
        let secret = try SecretBytes(randomCount: 32)
        let sealed = try await kms.seal(secret, under: key, context: context, as: caller)
        let opened = try await kms.open(sealed, under: key, context: context, as: caller)
        let isSame = opened.equals(secret)
        #expect(isSame)
    }
}
