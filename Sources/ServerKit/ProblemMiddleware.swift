import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOHTTP1
import Observability
import ServiceKit

extension HTTPField.Name {
    /// Names a request: given back with every answer.
    public static let requestID = HTTPField.Name("X-Request-Id")!
}

/// Turns every error into an RFC 9457 problem, logs one line a request, and names the request.
///
/// What an error says reaches the caller only through `describe`: an error that it does not know becomes
/// `internal-error` without detail.
public struct ProblemMiddleware: RouterMiddleware {
    public typealias Context = ServiceContext
    private let describe: @Sendable (any Error) -> Problem?

    public init(_ describe: @escaping @Sendable (any Error) -> Problem?) { self.describe = describe }

    public func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        var response: Response
        var problemName: String?
        do {
            response = try await next(request, context)
        } catch {
            let problem = problem(for: error)
            if problem == Self.unexpected {
                context.logger.error(
                    "unexpected error", metadata: ["request": "\(context.requestID)", "type": "\(type(of: error))"])
            }
            problemName = problem.name
            MetricCatalog.problems.increment(problem.name)
            response = Response.problem(problem.with(instance: context.requestID))
        }
        response.headers[.requestID] = context.requestID
        let elapsed = ContinuousClock.now - start
        let milliseconds = Double(elapsed.components.attoseconds) / 1e15 + Double(elapsed.components.seconds) * 1e3
        var metadata: Logger.Metadata = [
            "request": "\(context.requestID)", "method": "\(request.method.rawValue)", "path": "\(request.uri.path)",
            "status": "\(response.status.code)", "ms": "\(Int(milliseconds.rounded()))",
        ]
        if let trace = context.traceID { metadata["trace"] = "\(trace)" }
        if let problemName { metadata["problem"] = "\(problemName)" }
        if let principal = context.principal { metadata["subject"] = "\(principal.subject)" }
        context.logger.info("request", metadata: metadata)
        return response
    }

    /// What a caller is told of an error.
    public func problem(for error: any Error) -> Problem {
        if let error = error as? any ProblemConvertible { return error.problem }
        if let problem = describe(error) { return problem }
        if let error = error as? any HTTPResponseError { return .from(status: error.status) }
        // The request's framing broke while its body was read.
        if error is HTTPParserError {
            return .badRequest("the body's framing is not valid HTTP", fix: "Send the request again.")
        }
        return Self.unexpected
    }

    private static let unexpected = Problem(
        name: "internal-error", title: "Something went wrong inside", status: 500,
        detail: "The request could not be finished.",
        fix: "Give the request id to the operator, who finds more in the log.")
}

extension Problem {
    /// The problem of an error that the HTTP layer itself raised.
    static func from(status: HTTPResponse.Status) -> Problem {
        switch status.code {
        case 404:
            Problem(
                name: "not-found", title: "Not found", status: 404, detail: "There is nothing under this path.",
                fix: "Check the path against the API's documentation.")
        case 405: .methodNotAllowed
        case 413: .bodyTooLarge(limit: nil)
        default:
            Problem(
                name: "bad-request", title: "The request cannot be read", status: status.code,
                detail: status.reasonPhrase, fix: "Check the request against the API's documentation.")
        }
    }

    /// 413 for a body beyond the limit.
    public static func bodyTooLarge(limit: Int?) -> Problem {
        Problem(
            name: "body-too-large", title: "The body is too large", status: 413,
            detail: limit.map { "At most \($0) bytes are taken." } ?? "The body is longer than is taken.",
            fix: "Send less in one request, or have the operator raise limits.bodyMiB.")
    }

    /// 400 for a body or parameter of the wrong form.
    public static func badRequest(_ detail: String, fix: String) -> Problem {
        Problem(name: "invalid-request", title: "The request is not valid", status: 400, detail: detail, fix: fix)
    }
}

extension Response {
    /// A problem as its own media type.
    public static func problem(_ problem: Problem) -> Response {
        var headers = HTTPFields()
        headers[.contentType] = Problem.mediaType
        if let seconds = problem.retryAfterSeconds { headers[.retryAfter] = "\(seconds)" }
        if problem.name == "unauthenticated" { headers[.wwwAuthenticate] = "Bearer" }
        return Response(
            status: .init(code: problem.status), headers: headers,
            body: .init(byteBuffer: ByteBuffer(bytes: problem.encoded())))
    }

    /// JSON, with the times of the steps that made it.
    public static func json(
        _ body: some Encodable, status: HTTPResponse.Status = .ok, timings: ServerTiming? = nil
    ) throws -> Response {
        bytes(try APIJSON.encode(body), type: MediaType.json, status: status, timings: timings)
    }

    /// Bytes of one media type.
    public static func bytes(
        _ body: [UInt8], type: String, status: HTTPResponse.Status = .ok, timings: ServerTiming? = nil
    ) -> Response {
        var headers = HTTPFields()
        headers[.contentType] = type
        headers[.cacheControl] = "no-store"
        if let timings, !timings.entries.isEmpty { headers[.serverTiming] = timings.fieldValue }
        return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: body)))
    }
}

extension Request {
    /// The whole body.
    /// - Throws: the problem `body-too-large` beyond `limit` bytes; no more than that is taken into memory.
    public func collectBody(limit: Int) async throws -> [UInt8] {
        if let length = headers[.contentLength].flatMap({ Int($0) }), length > limit {
            throw Problem.bodyTooLarge(limit: limit)
        }
        var bytes: [UInt8] = []
        for try await chunk in body {
            guard bytes.count + chunk.readableBytes <= limit else { throw Problem.bodyTooLarge(limit: limit) }
            bytes.append(contentsOf: chunk.readableBytesView)
        }
        return bytes
    }

    /// The body as JSON.
    /// - Parameter integerMembers: members in which every number must be written as an integer.
    /// - Throws: the problem `invalid-request` naming the field that does not fit, or `not-an-integer`.
    public func decodeJSON<Body: Decodable>(
        _: Body.Type, limit: Int, integerMembers: Set<String> = []
    ) async throws -> Body {
        let bytes = try await collectBody(limit: limit)
        // A decoder takes UTF-16 and UTF-32, too; numbers are looked for in UTF-8, which has no zeros.
        guard integerMembers.isEmpty || !bytes.contains(0) else {
            throw Problem.badRequest("the body is not JSON in UTF-8", fix: "Send JSON in UTF-8.")
        }
        if !integerMembers.isEmpty, let number = JSONIntegers.firstOther(in: bytes, members: integerMembers) {
            throw Problem(
                name: "not-an-integer", title: "A number is no integer", status: 422,
                detail: "\(number) stands where integers are exact.",
                fix: "Write whole numbers without a point or an exponent.")
        }
        do {
            return try APIJSON.decode(Body.self, from: bytes)
        } catch let error as DecodingError {
            throw Problem.badRequest(error.summary, fix: "Check the body against the API's documentation.")
        }
    }
}

extension DecodingError {
    /// Which field, and what is wrong with it; none of the body's values.
    fileprivate var summary: String {
        func path(_ context: Context) -> String {
            let path = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }.joined()
            return path.isEmpty ? "the body" : String(path.prefix(200))
        }
        switch self {
        case .keyNotFound(let key, let context): return "\(path(context)) lacks \(key.stringValue.prefix(64))"
        case .typeMismatch(_, let context): return "\(path(context)) has the wrong type"
        case .valueNotFound(_, let context): return "\(path(context)) is null"
        case .dataCorrupted(let context):
            return context.codingPath.isEmpty ? "the body is not JSON" : "\(path(context)) has a wrong value"
        @unknown default: return "the body cannot be read"
        }
    }
}
