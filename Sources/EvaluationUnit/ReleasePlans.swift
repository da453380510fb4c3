import Attestation
import EncryptedInference
import ServiceKit
import Synchronization

/// Plans for flooded results and the models compiled by them, made when they are asked for. Both are bounded: plans in
/// number, compiled models in bytes, searches in how many wait.
package final class ReleasePlans: Sendable {
    /// Plans that are remembered, refusals too.
    private static let rememberedPlans = 256
    /// Searches of one gateway that run or wait. One runs at a time, so that threads are left for evaluations, of the
    /// gateways in turn.
    package static let searchesPerGateway = 64

    private struct Question: Hashable {
        let model: Digest
        let request: ReleaseRequest
    }

    private struct Held {
        let model: CompiledModel
        let byteCount: Int
        var lastUse: UInt64
    }

    private struct State {
        var plans: [Question: Result<InferencePlan, ReleasePlanError>] = [:]
        var searches: [Question: Task<Result<InferencePlan, ReleasePlanError>, any Error>] = [:]
        /// By the profile's digest, which names the model's file.
        var compiled: [Digest: Held] = [:]
        var compilations: [Digest: Task<CompiledModel, any Error>] = [:]
        /// Of those that are being compiled, too.
        var byteCount = 0
        var time: UInt64 = 0
    }

    /// Bytes of compiled models.
    package let capacity: Int
    private let pool: ComputePool
    private let turns = FairTurns<String>(places: ReleasePlans.searchesPerGateway)
    private let state = Mutex(State())

    package init(capacity: Int, pool: ComputePool) {
        self.capacity = capacity
        self.pool = pool
    }

    /// The plan of a model: searched once for each request.
    /// - Parameter gateway: id of the key that the request is signed with: who the search is for.
    /// - Throws: ``UnitProblem``, `ComputePoolError`.
    package func plan(
        _ model: InferenceModel, _ request: PlanRequest, for gateway: String
    ) async throws -> InferencePlan {
        let (pool, release) = (pool, request.release)
        // What is refused at once takes no other plan's place.
        do throws(ReleasePlanError) { try release.validate() } catch { throw UnitProblem.releasePlan(error) }
        if let profile = request.profile {
            let result = try await pool.run {
                Result { () throws(ReleasePlanError) in try InferencePlan(model, profile: profile, release: release) }
            }
            return try Self.plan(result)
        }
        let question = Question(model: model.digest, request: release)
        let search = try state.withLock { state throws(UnitProblem) in
            if let known = state.plans[question] { return Task<_, any Error> { known } }
            if let running = state.searches[question] { return running }
            do throws(FairTurns<String>.Full) { try turns.takePlace(gateway) } catch { throw .plannerBusy }
            let task = Task { [self] in
                let result = await turns.run(gateway) {
                    await Task {
                        try await pool.run {
                            Result { () throws(ReleasePlanError) in try InferencePlan(model, release: release) }
                        }
                    }.result
                }
                self.state.withLock { state in
                    state.searches[question] = nil
                    guard case .success(let found) = result else { return }
                    // Any other goes: one account that asks for many plans must not make all of them be searched anew.
                    if state.plans.count >= Self.rememberedPlans, let other = state.plans.keys.randomElement() {
                        state.plans[other] = nil
                    }
                    state.plans[question] = found
                }
                return try result.get()
            }
            state.searches[question] = task
            return task
        }
        return try Self.plan(try await search.value)
    }

    private static func plan(
        _ result: Result<InferencePlan, ReleasePlanError>
    ) throws(UnitProblem) -> InferencePlan {
        do throws(ReleasePlanError) { return try result.get() } catch { throw .releasePlan(error) }
    }

    /// A model ready to run by a plan of its own: compiled once, while there is room. Room is taken before it is compiled.
    /// - Throws: ``UnitProblem/planCacheTooSmall(needed:capacity:)``, ``UnitProblem/plannerBusy`` where others that are
    ///   being compiled have the room, `ComputePoolError`.
    package func compiled(_ model: InferenceModel, by plan: InferencePlan) async throws -> CompiledModel {
        let byteCount = plan.compiledByteCount
        guard byteCount <= capacity else {
            throw UnitProblem.planCacheTooSmall(needed: byteCount, capacity: capacity)
        }
        let (pool, digest) = (pool, plan.profile.digest)
        let compilation = try state.withLock { state throws(UnitProblem) in
            state.time += 1
            if let held = state.compiled[digest] {
                state.compiled[digest]?.lastUse = state.time
                return Task<_, any Error> { held.model }
            }
            if let running = state.compilations[digest] { return running }
            // Those that an evaluation uses stay in memory until it ends.
            while state.byteCount + byteCount > capacity {
                guard let oldest = state.compiled.min(by: { $0.value.lastUse < $1.value.lastUse }) else {
                    throw .plannerBusy
                }
                state.compiled[oldest.key] = nil
                state.byteCount -= oldest.value.byteCount
            }
            state.byteCount += byteCount
            let task = Task { [self] in
                let result = await Task { try await pool.run { try CompiledModel(model, plan: plan) } }.result
                self.state.withLock { state in
                    state.compilations[digest] = nil
                    guard case .success(let compiled) = result else {
                        state.byteCount -= byteCount
                        return
                    }
                    state.compiled[digest] = Held(model: compiled, byteCount: byteCount, lastUse: state.time)
                }
                return try result.get()
            }
            state.compilations[digest] = task
            return task
        }
        return try await compilation.value
    }
}
