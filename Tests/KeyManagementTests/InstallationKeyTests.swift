import Attestation
import KeyManagement
import SecretMemory
import TestSupport
import Testing

/// The keys that an installation derives from its secret.
@Suite struct InstallationKeyTests {
    /// Gives the bytes 0 to 31, whatever it is asked to open.
    private struct KnownSecretKMS: ForwardingKMS {
        let inner: any TrustedKMS

        func open(
            _: KMSSealedBlob, under _: KMSKeyName, context _: SealingContext, as _: KMSCaller
        ) async throws(KMSError) -> SecretBytes {
            do { return try SecretBytes(copying: 0..<32 as Range<UInt8>) } catch { throw .memory(error) }
        }
    }

    /// By HKDF and HMAC of Python's library and Ed25519 of OpenSSL, after docs/formats.md, "Installation secret".
    @Test("each key is what the format says")
    func known() async throws {
        let fixture = try await Fixture()
        let (_, sealed) = try await InstallationKeys.create(
            installation: "test", tenant: "default", kms: KMSDirectory(fixture.kms, key: Fixture.kmsKey))
        let keys = try await InstallationKeys.open(
            sealed, installation: "test", tenant: "default",
            kms: KMSDirectory(KnownSecretKMS(inner: fixture.kms), key: Fixture.kmsKey))
        #expect(
            keys.manifestKey.verificationKey.hex == "683ac22165d283045e450804b6d9e65e985206ca0423c8557f9db2e84b0d31f6")
        #expect(
            keys.requestKey.verificationKey.hex == "af47df0824d24098fe42e0676285f4114d3c27f363c183912ecb091a12d6b608")
        #expect(
            keys.auditKey.verificationKey.hex == "fbaf59c1a05920d073308941bd32dbd16fbf73e93a47f8f9431eb9f08617c2a8")
        #expect(
            keys.auditIdentifierKey.digest(of: [1, 2, 3]).hex
                == "67b44241545174d9046acf0b16a9f83f9e4d9ff4843b45d926d849e22bea10a3")
    }
}
