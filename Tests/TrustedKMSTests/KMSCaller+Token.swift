import KeyManagement
import SecretMemory

extension KMSCaller {
    /// A caller with this credential.
    static func holding(_ token: String) throws -> KMSCaller {
        var token = token
        let credential = try token.withUTF8 { try KMSCredential(copying: UnsafeRawBufferPointer($0)) }
        guard let credential else { throw ConformanceFailure("not a credential") }
        return .principal(credential)
    }
}
