import Attestation

/// What an access policy is told of a key set. Nothing secret.
public struct KeySetAccess: Sendable, Hashable {
    public let keySet: String
    public let tenant: String
    public let owner: KeySetOwner
    public let manifestVersion: Int
    /// nil where no limit was set.
    public let decryptionsLeft: Int?
    /// nil where the manifest is damaged: what then is asked of the key set fails by name.
    public let manifest: KeySetManifest?

    fileprivate init(_ row: KeySetRow, _ manifest: KeySetManifest?) {
        keySet = row.keySet
        tenant = row.tenant
        owner = row.owner
        manifestVersion = row.manifestVersion
        decryptionsLeft = row.budget
        self.manifest = manifest
    }

    public init(_ description: KeySetDescription) {
        let manifest = description.manifest
        keySet = manifest.keySet
        tenant = manifest.tenant
        owner = manifest.owner
        manifestVersion = manifest.version
        decryptionsLeft = description.counters.decryptionsLeft
        self.manifest = manifest
    }
}

extension KeyManager {
    /// The first of two gates: a key set is there for its owner, or for the members of the group that owns it.
    /// - Throws: `unknownKeySet` for everybody else, whether it exists or not; what keeps the stores from being read.
    public func access(
        to keySet: String, as requester: Requester
    ) async throws(KeyManagementError) -> KeySetAccess {
        let row = try await row(keySet, for: requester).row
        do {
            return KeySetAccess(row, try await manifest(row).body)
        } catch .objectTampered, .objectMissing, .statementRejected {
            return KeySetAccess(row, nil)
        }
    }
}
