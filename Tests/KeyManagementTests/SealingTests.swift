import Attestation
import Crypto
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretKeys
import SecretMemory
import Synchronization
import TestSupport
import Testing

/// What a seed is sealed with and bound to.
@Suite struct SealingTests {
    /// Made by hand after docs/formats.md, "Sealing context"; pd by Tests/Reference/suite1.py.
    private static let seedContext =
        "00000017484b4d532d7365616c696e672d636f6e746578742d7631" + "0000000474657374" + "0000000764656661756c74"
        + "0000000475736572" + "00000006737461746963" + "00000005616c696365" + "000000046b732d31"
        + "000000080000000000000002" + "0000002041fdca57b09a5321e876d1764901af3e8323bdf6f61229c92f772a27ca330851"
        + "000000080000000000000001" + "0000000764657269766564" + "0000000473656564" + "00000006646972656374"
        + "0000000673696e676c65"
    private static let installationContext =
        "00000017484b4d532d7365616c696e672d636f6e746578742d7631" + "0000000474657374" + "0000000764656661756c74"
        + "0000000b7369676e696e672d6b6579" + "0000000673696e676c65"

    @Test("the sealing contexts have the bytes that the format says")
    func contexts() async throws {
        let parameters = try #require(ParameterPreset.named("ckks-12")).parameters
        #expect(Digest.hex(SealingContextParts().context(parameters).bytes) == Self.seedContext)
        let fixture = try await Fixture()
        let kms = WatchedKMS(fixture.kms)
        let (_, sealed) = try await InstallationKeys.create(
            installation: "test", tenant: "default", kms: KMSDirectory(kms, key: Fixture.kmsKey))
        _ = try await InstallationKeys.open(
            sealed, installation: "test", tenant: "default", kms: KMSDirectory(kms, key: Fixture.kmsKey))
        #expect(kms.contexts.map { Digest.hex($0.bytes) } == [Self.installationContext, Self.installationContext])
    }

    @Test(
        "nothing is registered with a KMS that binds no context, and nothing is given to it",
        arguments: [ProtectionMode.direct, .envelope])
    func unbound(mode: ProtectionMode) async throws {
        let fixture = try await Fixture()
        let kms = WatchedKMS(fixture.kms, bindsContexts: false)
        let manager = Fixture.manager(
            kms: kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys)
        let error = await refusal { _ = try await manager.register(fixture.request(mode), as: fixture.alice) }
        #expect(error == .kms(.notSupported(operation: "binding a sealed secret to its context")))
        #expect(kms.contexts.isEmpty && fixture.files().isEmpty)
        #expect(try await manager.list(as: fixture.alice).isEmpty)
    }

    @Test(
        "the KMS never handles the seed in mode envelope, and does in mode direct",
        arguments: [ProtectionMode.direct, .envelope])
    func seedAtKMS(mode: ProtectionMode) async throws {
        let fixture = try await Fixture()
        let kms = FaultyKMS(fixture.kms, FaultPlan())
        let manager = Fixture.manager(
            kms: kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys)
        let manifest = try await manager.register(fixture.request(mode), as: fixture.alice).keySet.manifest
        let ciphertexts = try await manager.encrypt([.init(sample)], under: manifest.keySet, as: fixture.alice)
            .ciphertexts
        _ = try await manager.decrypt(ciphertexts, of: manifest.keySet, count: 8, as: fixture.alice)
        let secrets = kms.secrets

        // As whoever holds KMS and storage together: the only ones who can.
        var parts = SealingContextParts()
        parts.keySet = manifest.keySet
        parts.mode = mode
        let seedContext = parts.context(manifest.parameters)
        func blob(_ name: String) throws -> [UInt8] {
            Array(try Data(contentsOf: fixture.path(manifest.keySet, name)).dropFirst(20).dropLast(32))
        }
        func open(_ name: String, _ context: SealingContext) async throws -> [UInt8] {
            let blob = KMSSealedBlob(bytes: try blob(name), keyVersion: 1)
            return try await fixture.kms.open(blob, under: Fixture.kmsKey, context: context, as: .service)
                .withUnsafeBytes { Array($0) }
        }
        let bytes: [UInt8]
        if mode == .envelope {
            parts.object = .dataKey
            let dataKey = try await open("sealed-data-key", parts.context(manifest.parameters))
            #expect(secrets.contains(dataKey), "it is the data key that passes the KMS")
            let box = try AES.GCM.SealedBox(combined: blob("sealed-seed"))
            bytes = Array(
                try AES.GCM.open(box, using: SymmetricKey(data: dataKey), authenticating: seedContext.bytes))
        } else {
            bytes = try await open("sealed-seed", seedContext)
        }
        guard let seed = Seed(try SecretBytes(copying: bytes)) else {
            Issue.record("a seed of \(bytes.count) bytes")
            return
        }
        let isSeed = try seed.matches(
            commitment: manifest.commitment.bytes, parameterDigest: manifest.parameters.digest)
        #expect(isSeed)
        let scan = SecretScan([bytes])
        #expect(secrets.contains { scan.finds(in: $0) } == (mode == .direct))
    }
}

/// Remembers what it was asked to seal and open for.
private final class WatchedKMS: ForwardingKMS {
    let inner: any TrustedKMS
    private let bindsContexts: Bool
    private let seen = Mutex<[SealingContext]>([])
    var contexts: [SealingContext] { seen.withLock { $0 } }

    init(_ inner: any TrustedKMS, bindsContexts: Bool = true) {
        self.inner = inner
        self.bindsContexts = bindsContexts
    }

    var capabilities: KMSCapabilities {
        var capabilities = inner.capabilities
        if !bindsContexts { capabilities.contextBinding = .none }
        return capabilities
    }

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        seen.withLock { $0.append(context) }
        return try await inner.seal(secret, under: key, context: context, as: caller)
    }

    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        seen.withLock { $0.append(context) }
        return try await inner.open(sealed, under: key, context: context, as: caller)
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        seen.withLock { $0.append(context) }
        return try await inner.generateDataKey(under: key, context: context, as: caller)
    }
}
