import AccessPolicy
import AuditLog
import HTTPTypes
import Hummingbird
import KeyManagement
import ServerKit
import ServiceKit

extension Gateway {
    /// Runs one operation of the API. It is on record before its answer leaves, however it ends; where it cannot be put
    /// on record, it is not begun, and what was done meanwhile is not answered.
    /// - Throws: what `body` throws, or `AuditError` in its place.
    func operate(
        _ action: AccessAction, _ context: ServiceContext,
        _ body: (RequestedOperation) async throws -> Response
    ) async throws -> Response {
        let operation = try RequestedOperation(
            action, in: context, policy: policy.policy, tenant: configuration.tenant, time: clock())
        let response: Response
        do {
            try await audit.checkHealth()
            response = try await body(operation)
            guard operation.wasAsked else {
                throw KeyManagementError.internalFailure(reason: "the access policy was not asked")
            }
        } catch {
            let outcome = error is CancellationError ? "cancelled" : nil
            try await audit.append(
                operation.record(problems.problem(for: error), outcome: outcome),
                awaitsSinks: !(error is AuditError))
            throw error
        }
        try await audit.append(operation.record())
        return response
    }

    /// The key set that a request names, past both gates.
    /// - Throws: `unknownKeySet`, `AccessDenied`.
    @discardableResult
    func permit(
        _ operation: RequestedOperation, on keySet: String, model: String? = nil
    ) async throws -> KeySetAccess {
        operation.note(keySet: keySet)
        let access = try await manager.access(to: keySet, as: operation.requester)
        try operation.permit(on: access, model: model)
        return access
    }
}

extension Gateway {
    /// The same again, by what counts now: the body that came meanwhile may have taken its time.
    func permitAgain(
        _ operation: RequestedOperation, on keySet: String, model: String? = nil
    ) async throws -> KeySetAccess {
        operation.renew(policy: policy.policy, time: clock())
        return try await permit(operation, on: keySet, model: model)
    }
}

/// Puts on record who could not be identified: the first of a burst each, and how many there were.
///
/// Whoever has no credentials must not fill the disk, so that no more than so many a minute have records of their own.
final class FailedAuthentications: RouterMiddleware {
    typealias Context = ServiceContext
    static let recordsPerMinute = 60

    private let audit: AuditTrail
    private let bound: RateBound

    init(audit: AuditTrail) {
        self.audit = audit
        bound = RateBound(events: Self.recordsPerMinute, per: .seconds(60))
    }

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do { return try await next(request, context) } catch {
            // Whoever was identified is on record by the operation.
            guard context.principal == nil, let passedOver = bound.admit() else { throw error }
            var parameters: [String: String] = [:]
            parameters["address"] = context.remoteAddress
            if passedOver > 0 { parameters["notRecordedBefore"] = "\(passedOver)" }
            try await audit.append(
                AuditRecord(
                    caller: nil, action: "authenticate", parameters: parameters, decision: .denied,
                    rule: "denied: nobody was identified", requestID: context.requestID, traceID: context.traceID,
                    outcome: (error as? any ProblemConvertible)?.problem.name ?? "internal-error",
                    microseconds: context.microseconds),
                awaitsSinks: (try? await audit.checkHealth()) != nil)
            throw error
        }
    }
}
