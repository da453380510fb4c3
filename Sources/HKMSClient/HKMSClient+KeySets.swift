import NIOCore
import NIOHTTP1
import ServiceKit

extension HKMSClient {
    /// Makes a key set, or tells the one that an earlier request of the same id made.
    ///
    /// Status 201 says that it is new. Steps: seal, secretKey, keyCreation, store.
    public func register(_ request: RegisterRequest) async throws(HKMSClientError) -> Response<KeySetInfo> {
        try await json(.POST, ["v1", "keysets"], body: try encoded(request))
    }

    /// The caller's key sets, and those of its groups.
    public func keySets() async throws(HKMSClientError) -> Response<KeySetList> {
        try await json(.GET, ["v1", "keysets"])
    }

    /// One key set.
    public func keySet(_ id: String) async throws(HKMSClientError) -> Response<KeySetInfo> {
        try await json(.GET, ["v1", "keysets", id])
    }

    /// The signed manifest of a key set, a DSSE envelope as the gateway sent it: not verified here.
    public func manifest(ofKeySet id: String) async throws(HKMSClientError) -> Response<[UInt8]> {
        let request = GatewayTransport.Request(
            target: try RequestTarget(["v1", "keysets", id, "manifest"]),
            accept: "\(MediaType.envelope), \(MediaType.json)", maximumBytes: limits.jsonBytes)
        return try await transport.collect(request)
    }

    /// The serialized public key. Its digest stands in the manifest.
    public func publicKey(ofKeySet id: String) async throws(HKMSClientError) -> Response<[UInt8]> {
        try await key(.publicKey, ofKeySet: id)
    }

    /// Names, sizes and digests of the evaluation keys.
    public func evaluationKeys(ofKeySet id: String) async throws(HKMSClientError) -> Response<EvaluationKeyList> {
        try await json(.GET, ["v1", "keysets", id, "evaluation-keys"])
    }

    /// One serialized evaluation key, as a whole in memory; see ``download(_:ofKeySet:receive:)``.
    public func evaluationKey(
        _ key: KeyObject, ofKeySet id: String
    ) async throws(HKMSClientError) -> Response<[UInt8]> {
        try await self.key(key, ofKeySet: id)
    }

    /// Hands a key to `receive` chunk by chunk; the result's body is the number of bytes.
    /// - Throws: ``HKMSClientError``, and what `receive` throws.
    public func download(
        _ key: KeyObject, ofKeySet id: String, receive: (ByteBuffer) throws -> Void
    ) async throws -> Response<Int> {
        var request = try request(key, ofKeySet: id)
        request.isTimed = false
        return try await transport.exchange(request, receive: receive)
    }

    /// Makes a key set's secret unusable, for good. The body says how far that goes.
    public func destroy(keySet id: String) async throws(HKMSClientError) -> Response<DestroyResponse> {
        try await json(.DELETE, ["v1", "keysets", id])
    }

    private func key(_ key: KeyObject, ofKeySet id: String) async throws(HKMSClientError) -> Response<[UInt8]> {
        try await transport.collect(try request(key, ofKeySet: id))
    }

    private func request(
        _ key: KeyObject, ofKeySet id: String
    ) throws(HKMSClientError) -> GatewayTransport.Request {
        GatewayTransport.Request(
            target: try RequestTarget(["v1", "keysets", id] + key.path), accept: MediaType.octetStream,
            maximumBytes: limits.binaryBytes)
    }
}
