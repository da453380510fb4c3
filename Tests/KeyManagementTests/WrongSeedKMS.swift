import KeyManagement
import SecretMemory

/// A KMS whose `open` gives 32 bytes that are not the seed, as one with a non-committing AEAD may.
struct WrongSeedKMS: ForwardingKMS {
    let inner: any TrustedKMS

    func open(
        _: KMSSealedBlob, under _: KMSKeyName, context _: SealingContext, as _: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        do { return try SecretBytes(randomCount: 32) } catch { throw .memory(error) }
    }
}
