import KeyManagement
import SecretMemory

/// A secret on its way to a thread of the pool, or back: closures hold references alone.
final class SharedSecret: Sendable {
    let secret: SecretBytes

    init(_ secret: consuming SecretBytes) { self.secret = secret }

    /// A value of its own; this one is wiped with its last reference.
    func copy() throws(KMSError) -> SecretBytes {
        do throws(SecretMemoryError) { return try secret.copy() } catch { throw .memory(error) }
    }
}
