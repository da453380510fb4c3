import FoundationEssentials
import KeyManagement

extension OpenBaoKMS: KMSPrivilegeReport {
    /// By `sys/capabilities-self`, which gateway.hcl and the built-in policy `default` allow.
    public func excessPrivileges(on key: KMSKeyName) async throws(KMSError) -> Set<KMSPrivilege> {
        let probes = Self.privilegeProbes(mount: mount, key: key) + delegationProbes()
        // Mounts and names of keys have no character that JSON escapes.
        let paths = probes.map { "\"\($0.path)\"" }.joined(separator: ",")
        var body = OpenBaoRequestBody(capacity: paths.utf8.count + 64)
        body.add("paths", literal: "[\(paths)]")
        body.close()
        let answer = try await call(.POST, "sys/capabilities-self", body: body, "tell what the token may do", nil)
        let bytes = answer.body.withUnsafeBytes { Data($0) }
        guard let granted = TransitAnswer.capabilities(bytes) else { throw Self.malformed("capabilities-self") }
        var excess: Set<KMSPrivilege> = []
        for probe in probes {
            let capabilities = granted[probe.path] ?? []
            if capabilities.contains("root") { return [.everything] }
            if capabilities.contains(where: probe.capabilities.contains) { excess.insert(probe.privilege) }
        }
        return excess
    }

    private struct PrivilegeProbe {
        let privilege: KMSPrivilege
        let path: String
        let capabilities: Set<String>
    }

    /// On the key of an entity that there is not: what the gateway may do with it, it may do with everybody's.
    private func delegationProbes() -> [PrivilegeProbe] {
        guard let callers else { return [] }
        let key = callers.delegation.keyPrefix + "00000000-0000-0000-0000-000000000000"
        let write: Set = ["create", "update", "patch", "sudo"]
        let (login, role) = (callers.delegation.mount, callers.delegation.role)
        let written = [
            "\(mount)/encrypt/\(key)", "\(mount)/decrypt/\(key)", "\(mount)/datakey/plaintext/\(key)",
            "\(mount)/datakey/wrapped/\(key)",
            // Makes the key exportable.
            "\(mount)/keys/\(key)/config",
            // Whose JWTs are believed, and for which entity and policies they stand.
            "auth/\(login)/config", "auth/\(login)/role/\(role)", "identity/entity-alias", "identity/entity/merge",
        ]
        let read = [
            "\(mount)/export/encryption-key/\(key)", "\(mount)/backup/\(key)", "\(mount)/byok-export/\(key)/\(key)",
        ]
        return written.map { PrivilegeProbe(privilege: .actForPrincipals, path: $0, capabilities: write) }
            + read.map { PrivilegeProbe(privilege: .actForPrincipals, path: $0, capabilities: ["read", "sudo"]) }
    }

    private static func privilegeProbes(mount: String, key: KMSKeyName) -> [PrivilegeProbe] {
        let write: Set = ["create", "update", "patch", "sudo"]
        return [
            PrivilegeProbe(privilege: .createKeys, path: "\(mount)/keys/\(key)", capabilities: write),
            // Where there is no key of the name, `encrypt` makes it.
            PrivilegeProbe(privilege: .createKeys, path: "\(mount)/encrypt/\(key)", capabilities: ["create"]),
            PrivilegeProbe(privilege: .destroyKey, path: "\(mount)/keys/\(key)", capabilities: ["delete"]),
            PrivilegeProbe(privilege: .rotateKey, path: "\(mount)/keys/\(key)/rotate", capabilities: write),
            PrivilegeProbe(privilege: .destroyVersions, path: "\(mount)/keys/\(key)/trim", capabilities: write),
            // Allows deletion, and makes a key exportable.
            PrivilegeProbe(privilege: .administer, path: "\(mount)/keys/\(key)/config", capabilities: write),
            PrivilegeProbe(
                privilege: .exportKey, path: "\(mount)/export/encryption-key/\(key)", capabilities: ["read"]),
            PrivilegeProbe(privilege: .exportKey, path: "\(mount)/backup/\(key)", capabilities: ["read"]),
            PrivilegeProbe(
                privilege: .administer, path: "sys/mounts/\(mount)", capabilities: write.union(["delete"])),
            PrivilegeProbe(
                privilege: .administer, path: "sys/policies/acl/hkms", capabilities: write.union(["delete"])),
        ]
    }
}
