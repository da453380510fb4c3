import KeyManagement
import SecretMemory

/// Stands in for the adapter: what its configuration is connected to loads a module, and is not fuzzed.
public enum PKCS11KMS {
    public static func connect(
        _: PKCS11Configuration, pin: consuming SecretBytes
    ) async throws -> any TrustedKMS { throw KMSError.unavailable(reason: "none") }
}
