import NIOHTTP1
import ServiceKit

extension HKMSClient {
    /// The models that the evaluation units have.
    public func models() async throws(HKMSClientError) -> Response<ModelList> {
        try await json(.GET, ["v1", "models"])
    }

    /// The circuits on exact integers that the evaluation units have.
    public func circuits() async throws(HKMSClientError) -> Response<CircuitList> {
        try await json(.GET, ["v1", "circuits"])
    }

    /// Encrypts records, has a model evaluated on them and decrypts its answers, in one request.
    ///
    /// Steps: secretKey and keyCreation (ephemeral), sampleEncryption, upload, prediction, open,
    /// secretKeyFromSeed, decryption.
    public func predict(
        model: String, _ request: PredictRequest
    ) async throws(HKMSClientError) -> Response<PredictResponse> {
        try await json(.POST, ["v1", "models", model, "predict"], body: try encoded(request))
    }

    /// Has a model or circuit evaluated on ciphertexts, in the background: ask ``job(_:)`` until it is no longer `open`.
    public func openJob(
        keySet: String, model: String, ciphertexts: [[UInt8]]
    ) async throws(HKMSClientError) -> Response<JobInfo> {
        try await json(
            .POST, ["v1", "jobs"], query: [("keyset", keySet), ("model", model)], body: bundled(ciphertexts))
    }

    /// The caller's jobs.
    public func jobs() async throws(HKMSClientError) -> Response<JobList> {
        try await json(.GET, ["v1", "jobs"])
    }

    /// One job.
    public func job(_ id: String) async throws(HKMSClientError) -> Response<JobInfo> {
        try await json(.GET, ["v1", "jobs", id])
    }

    /// The output ciphertexts of a job that is evaluated; the problem `job-not-finished` while it is open.
    public func results(ofJob id: String) async throws(HKMSClientError) -> Response<[[UInt8]]> {
        try await bundle(.GET, ["v1", "jobs", id, "results"])
    }
}
