import AccessPolicy
import Attestation
import AuditLog
import HomomorphicEncryption
import KeyManagement
import ServerKit
import ServiceKit
import Synchronization

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One authenticated request on its way past the access policy and onto the audit log: who asks, what was decided, and
/// what is known of it so far.
final class RequestedOperation: Sendable {
    let requester: Requester
    private let principal: Principal
    private let context: ServiceContext
    private let tenant: String
    private let address: IPAddress?
    private let state: Mutex<State>

    private struct State {
        /// One for all questions, whatever is reloaded meanwhile, until ``renew(policy:time:)``.
        var policy: Policy
        var time: Date
        var action: AccessAction
        var keySet: String?
        var keySetVersion: Int?
        var model: String?
        var unit: String?
        var parameters: [String: String] = [:]
        var ciphertexts: [Digest] = []
        var decision: AccessDecision?
        /// Whether the policy was asked, for one thing or for each of a list.
        var wasAsked = false
    }

    /// - Parameter tenant: the gateway's.
    /// - Throws: `unauthenticated` where nobody asks, `SecretMemoryError`.
    init(
        _ action: AccessAction, in context: ServiceContext, policy: Policy, tenant: String, time: Date
    ) throws {
        guard let principal = context.principal else { throw BearerMiddleware.unauthenticated }
        self.principal = principal
        self.context = context
        self.tenant = tenant
        requester = Requester(
            issuer: principal.issuer, subject: principal.subject, tenant: principal.tenant, groups: principal.groups,
            kmsCredential: try context.forwardedCredential?.withUnsafeBytes { try KMSCredential(copying: $0) })
        address = context.remoteAddress.flatMap { IPAddress($0) }
        state = Mutex(State(policy: policy, time: time, action: action))
    }

    private init(copying other: RequestedOperation) {
        (principal, context) = (other.principal, other.context)
        // A caller's own credential is for the request that brought it.
        requester = Requester(
            issuer: other.requester.issuer, subject: other.requester.subject, tenant: other.requester.tenant,
            groups: other.requester.groups)
        (tenant, address) = (other.tenant, other.address)
        state = Mutex(other.state.withLock { $0 })
    }

    /// What goes on in the background after the answer, and is on record by itself.
    func continuation() -> RequestedOperation { RequestedOperation(copying: self) }

    /// Whether the policy was asked: what ends well without was forgotten by its route.
    var wasAsked: Bool { state.withLock { $0.wasAsked } }

    /// The policy and the time that count from here on: a body may take long to arrive.
    func renew(policy: Policy, time: Date) {
        state.withLock { ($0.policy, $0.time) = (policy, time) }
    }

    // MARK: Policy

    /// Asks the policy for the operation on a key set that the requester may use.
    /// - Parameter model: the one that the request names. The key set's own must be allowed, too: it may be another.
    /// - Throws: `AccessDenied`.
    func permit(on access: KeySetAccess, model: String? = nil) throws(AccessDenied) {
        let action = state.withLock { state in
            state.keySet = access.keySet
            state.keySetVersion = access.manifestVersion
            return state.action
        }
        if let model, let own = access.manifest?.profile?.model, own != model {
            try require(question(action, on: access, model: own))
        }
        try require(question(action, on: access, model: model))
    }

    /// The same for another action than the one that was asked for, which then goes on record in its place.
    func permit(_ action: AccessAction, on access: KeySetAccess) throws(AccessDenied) {
        state.withLock { $0.action = action }
        try permit(on: access)
    }

    /// The same for a key set that the operation makes.
    func permitNew(
        ownedBy owner: KeySetOwner, model: String?, decryptionsLeft: Int?, audience: ReleaseAudience
    ) throws(AccessDenied) {
        let (action, time) = state.withLock { ($0.action, $0.time) }
        try require(
            AccessRequest(
                action, by: principal, tenant: tenant, keySet: .new, owner: AccessRequest.Owner(owner), model: model,
                time: time, address: address, decryptionsLeft: .init(decryptionsLeft),
                audience: AccessRequest.Audience(audience)))
    }

    /// The same for what is of no key set.
    func permit() throws(AccessDenied) {
        let (action, time) = state.withLock { ($0.action, $0.time) }
        try require(AccessRequest(action, by: principal, tenant: tenant, time: time, address: address))
    }

    /// Whether the policy would allow an action; nothing is put on record.
    func allows(_ action: AccessAction, on access: KeySetAccess) -> Bool {
        state.withLock { $0.policy }.decide(question(action, on: access, model: nil)).isAllowed
    }

    /// Those of a list of key sets, or of what goes with one, that may be shown.
    /// - Parameter access: nil for what is not the requester's, or not any more.
    func shown<Element>(
        of elements: [Element], _ access: (Element) async throws -> KeySetAccess?
    ) async rethrows -> [Element] {
        var shown: [Element] = []
        for element in elements {
            if let access = try await access(element), allows(.show, on: access) { shown.append(element) }
        }
        state.withLock { $0.wasAsked = true }
        note("shown", "\(shown.count) of \(elements.count)")
        return shown
    }

    private func question(_ action: AccessAction, on access: KeySetAccess, model: String?) -> AccessRequest {
        let time = state.withLock { $0.time }
        return AccessRequest(
            action, by: principal, tenant: access.tenant, keySet: .id(access.keySet),
            owner: AccessRequest.Owner(access.owner), model: model ?? access.manifest?.profile?.model, time: time,
            address: address, decryptionsLeft: .init(access.decryptionsLeft),
            audience: access.manifest.map { AccessRequest.Audience($0.policy.audience) })
    }

    private func require(_ question: AccessRequest) throws(AccessDenied) {
        let policy = state.withLock { state in
            state.model = question.model ?? state.model
            state.wasAsked = true
            return state.policy
        }
        do {
            let decision = try policy.require(question)
            state.withLock { $0.decision = decision }
        } catch {
            state.withLock { $0.decision = error.decision }
            throw error
        }
    }

    // MARK: Record

    func note(keySet: String, version: Int? = nil) {
        state.withLock {
            $0.keySet = keySet
            $0.keySetVersion = version ?? $0.keySetVersion
        }
    }

    func note(model: String, unit: String) {
        state.withLock { ($0.model, $0.unit) = (model, unit) }
    }

    func note(_ ciphertexts: [Digest]) { state.withLock { $0.ciphertexts += ciphertexts } }

    /// - Parameter value: never a secret, and no identifier of somebody: those have members of their own.
    func note(_ name: String, _ value: String) { state.withLock { $0.parameters[name] = value } }

    /// As it goes on record now.
    /// - Parameters:
    ///   - problem: what is answered; nil where it went well.
    ///   - outcome: in place of `ok` or the problem's name.
    func record(_ problem: Problem? = nil, outcome: String? = nil) -> AuditRecord {
        let state = state.withLock { $0 }
        var parameters = state.parameters
        parameters["address"] = context.remoteAddress
        parameters["policy"] = state.decision?.policyDigest
        let (decision, rule) = Self.judgement(state.decision, problem)
        return AuditRecord(
            caller: .init(principal), action: state.action.rawValue,
            resource: .init(
                keySet: state.keySet, keySetVersion: state.keySetVersion, model: state.model, unit: state.unit),
            parameters: parameters, ciphertexts: .init(state.ciphertexts), decision: decision, rule: rule,
            requestID: context.requestID, traceID: context.traceID, outcome: outcome ?? problem?.name ?? "ok",
            microseconds: context.microseconds)
    }

    /// The policy is the second gate: what ownership, the key set or the request itself refused was denied by these.
    private static func judgement(
        _ decision: AccessDecision?, _ problem: Problem?
    ) -> (AuditRecord.Decision, rule: String) {
        if let decision, !decision.isAllowed { return (.denied, decision.description) }
        switch problem?.name {
        case nil: return (.allowed, decision?.description ?? "allowed by each key set's own rule")
        case "unknown-key-set", "unknown-job": return (.denied, "denied by ownership")
        default:
            if problem?.status == 403 { return (.denied, "denied by the key set") }
            guard let decision else { return (.denied, "denied: no rule was asked") }
            return (.allowed, decision.description)
        }
    }
}

extension AccessRequest.Owner {
    init(_ owner: KeySetOwner) {
        self.init(kind: owner.kind == .user ? .user : .group, issuer: owner.issuer, name: owner.subject)
    }
}

extension AccessRequest.DecryptionsLeft {
    /// - Parameter count: nil for no limit.
    init(_ count: Int?) { self = count.map { .count($0) } ?? .unlimited }
}

extension AccessRequest.Audience {
    init(_ audience: ReleaseAudience) { self = audience == .owner ? .owner : .shared }
}
