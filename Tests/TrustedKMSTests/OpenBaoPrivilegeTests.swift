import Foundation
import KeyManagement
import Testing
import TrustedKMSOpenBao

/// What a token may do beyond a gateway's needs, as real OpenBao says it.
@Suite struct OpenBaoPrivilegeTests {
    @Test("each policy's excess is told, and asking changes nothing")
    func excess() async throws {
        let server = try OpenBaoTestServer()
        let key = try #require(KMSKeyName("hkms-privileges-\(UInt32.random(in: .min ... .max))"))
        try await server.withKMS { try await $0.createKey(key) }
        let least = try await server.leastPolicy(for: key)
        let policies: [(path: String, capability: String, excess: Set<KMSPrivilege>)] = [
            ("transit/random/*", "update", []),
            ("transit/keys/\(key)", "delete", [.destroyKey]),
            ("transit/keys/\(key)", "create", [.createKeys]),
            ("transit/encrypt/\(key)", "create", [.createKeys]),
            ("transit/keys/\(key)/rotate", "update", [.rotateKey]),
            ("transit/keys/\(key)/trim", "update", [.destroyVersions]),
            ("transit/keys/\(key)/config", "update", [.administer]),
            ("transit/export/encryption-key/\(key)", "read", [.exportKey]),
            ("transit/backup/\(key)", "read", [.exportKey]),
            ("sys/policies/acl/*", "update", [.administer]),
            // The least policy's own paths are more exact, and win.
            ("transit/*", "update", [.rotateKey, .destroyVersions, .administer]),
        ]
        for (path, capability, excess) in policies {
            let name = "\(key)-more"
            try await server.administer(
                "PUT", "sys/policies/acl/\(name)",
                ["policy": "path \"\(path)\" { capabilities = [\"\(capability)\"] }"])
            let token = try await server.createToken(policy: name, settings: ["policies": [least, name]])
            let found = try await server.withKMS(.token(OpenBaoTestServer.token(token))) {
                try await $0.excessPrivileges(on: key)
            }
            #expect(found == excess, "\(capability) on \(path)")
        }
        let root = try await server.withKMS { try await $0.excessPrivileges(on: key) }
        #expect(root == [.everything])
        let after = try await server.withKMS { try await $0.describeKey(key) }
        #expect(after.latestVersion == 1 && after.minimumVersion == 1)
        try await server.withKMS { try await $0.destroyKey(key) }
    }

    @Test("a gateway that may use users' keys without them is told so, its documented policy is not")
    func usersKeys() async throws {
        let server = try OpenBaoTestServer()
        let key = try #require(KMSKeyName("hkms-privileges-\(UInt32.random(in: .min ... .max))"))
        let least = try await server.leastPolicy(for: key)
        let delegation = try await server.load("gateway-delegated", replacing: ["hkms-user-": "\(key)-user-"])
        let used = ["encrypt", "decrypt", "datakey/plaintext", "datakey/wrapped", "keys"].map {
            ("transit/\($0)/\(key)-user-*", "update")
        }
        let taken = ["export/encryption-key", "backup", "byok-export"].map { ("transit/\($0)/\(key)-user-*", "read") }
        // Who says whose JWTs are believed, and whom they name, says who the users are.
        let named = ["auth/jwt/config", "auth/jwt/role/user", "identity/entity-alias", "identity/entity/merge"].map {
            ($0, "update")
        }
        for (path, capability) in [("transit/random/\(key)-user-*", "update")] + used + taken + named {
            let name = "\(key)-more"
            let policy = "path \"\(path)\" { capabilities = [\"\(capability)\"] }"
            try await server.administer("PUT", "sys/policies/acl/\(name)", ["policy": policy])
            let token = try await server.createToken(policy: name, settings: ["policies": [least, delegation, name]])
            let found = try await server.withKMS(
                .token(OpenBaoTestServer.token(token)),
                delegation: OpenBaoDelegation(role: "user", keyPrefix: "\(key)-user-")
            ) { try await $0.excessPrivileges(on: key) }
            #expect(found == (path.contains("random") ? [] : [.actForPrincipals]), "\(path)")
        }
    }

    @Test("a token that may not even ask is denied")
    func mayNotAsk() async throws {
        let server = try OpenBaoTestServer()
        let key = try #require(KMSKeyName("hkms-privileges-\(UInt32.random(in: .min ... .max))"))
        let policy = try await server.load(
            "gateway", replacing: ["hkms-seeds": key.value, "sys/capabilities-self": "sys/nothing"])
        let token = try await server.createToken(policy: policy)
        await #expect {
            try await server.withKMS(.token(OpenBaoTestServer.token(token))) {
                _ = try await $0.excessPrivileges(on: key)
            }
        } throws: { error in
            if case .denied = error as? KMSError { true } else { false }
        }
    }
}
