import ServiceKit

extension HKMSClient {
    /// The body of an answer, and what came with it.
    public struct Response<Body: Sendable>: Sendable {
        /// What the method's documentation says.
        public let body: Body
        /// HTTP status, 2xx (and 503 of ``HKMSClient/ready()``).
        public let status: Int
        /// How long the gateway's steps took; empty where it told none.
        public let timings: ServerTiming
        /// Finds the request in the gateway's log; nil where the gateway told none.
        public let requestID: String?

        public init(body: Body, status: Int, timings: ServerTiming, requestID: String?) {
            self.body = body
            self.status = status
            self.timings = timings
            self.requestID = requestID
        }

        func with<Other: Sendable>(_ body: Other) -> Response<Other> {
            Response<Other>(body: body, status: status, timings: timings, requestID: requestID)
        }
    }
}
