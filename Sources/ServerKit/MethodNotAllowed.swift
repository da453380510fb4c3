import HTTPTypes
import Hummingbird
import ServiceKit

extension RouterMethods where Context == ServiceContext {
    /// Answers 405 with an Allow field to every other method; Hummingbird itself would answer 404.
    /// - Parameter check: what a caller must pass to be told.
    public func refuseOtherMethods(
        _ path: RouterPath, than allowed: [HTTPRequest.Method],
        after check: @escaping @Sendable (Request, ServiceContext) async throws -> Void = { _, _ in }
    ) {
        let names = allowed.map(\.rawValue).sorted().joined(separator: ", ")
        let methods: [HTTPRequest.Method] = [.get, .head, .post, .put, .patch, .delete, .options, .trace, .connect]
        for method in methods where !allowed.contains(method) {
            on(path, method: method) { request, context in
                try await check(request, context)
                var response = Response.problem(Problem.methodNotAllowed.with(instance: context.requestID))
                response.headers[.allow] = names
                return response
            }
        }
    }
}

extension Problem {
    static let methodNotAllowed = Problem(
        name: "method-not-allowed", title: "The request is not valid", status: 405,
        detail: "This path does not take this method.", fix: "Use one of the methods that the Allow field names.")
}
