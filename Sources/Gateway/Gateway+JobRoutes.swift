import Attestation
import AuditLog
import EncryptedInference
import HTTPTypes
import Hummingbird
import KeyManagement
import ServerKit
import ServiceKit

extension Gateway {
    func addJobRoutes(to group: RouterGroup<ServiceContext>) {
        group.post { [self] request, context in
            try await operate(.evaluate, context) { operation in
                guard let keySet = request.uri.queryParameters["keyset"].map(String.init),
                    let name = request.uri.queryParameters["model"].map(String.init)
                else {
                    throw Problem.badRequest(
                        "the query lacks keyset or model", fix: "POST /v1/jobs?keyset=ID&model=NAME with a bundle.")
                }
                return try await openJob(request, keySet: keySet, model: name, operation)
            }
        }
        group.get { [self] _, context in
            try await operate(.show, context) { operation in
                var known: [String: KeySetAccess?] = [:]
                let jobs = try await operation.shown(of: manager.jobs(as: operation.requester)) { job in
                    if let access = known[job.keySet] { return access }
                    let access: KeySetAccess?
                    do throws(KeyManagementError) {
                        access = try await manager.access(to: job.keySet, as: operation.requester)
                    } catch .unknownKeySet { access = nil }
                    known[job.keySet] = .some(access)
                    return access
                }
                return try Response.json(JobList(jobs: jobs.map { JobInfo($0) }))
            }
        }
        group.get("{job}") { [self] _, context in
            try await operate(.show, context) { operation in
                try Response.json(JobInfo(try await permittedJob(parameter("job", context), operation)))
            }
        }
        group.get("{job}/results") { [self] _, context in
            try await operate(.evaluate, context) { operation in
                let job = try await permittedJob(parameter("job", context), operation)
                guard job.state != .open else {
                    throw Problem(
                        name: "job-not-finished", title: "The job is not finished", status: 409,
                        detail: "Job \(job.job) waits for its evaluation unit.",
                        fix: "GET /v1/jobs/{id} until it is evaluated.",
                        retryAfterSeconds: 1)
                }
                operation.note(job.outputs)
                return Response.bytes(
                    OctetBundle.encode(try await manager.outputs(of: job.job, as: operation.requester)),
                    type: MediaType.bundle)
            }
        }
        group.refuseOtherMethods("", than: [.get, .post])
        for path: RouterPath in ["{job}", "{job}/results"] { group.refuseOtherMethods(path, than: [.get]) }
    }

    /// One of the requester's own jobs, over a key set that is still theirs and that they may see.
    private func permittedJob(_ id: String, _ operation: RequestedOperation) async throws -> JobSummary {
        operation.note("job", id)
        let job = try await manager.job(id, as: operation.requester)
        operation.note(model: job.model, unit: job.unit)
        try await permit(operation, on: job.keySet, model: job.model)
        return job
    }

    private func openJob(
        _ request: Request, keySet: String, model name: String, _ operation: RequestedOperation
    ) async throws -> Response {
        try await permit(operation, on: keySet, model: name)
        let inputs = try await bundle(request).map { ReceivedCiphertext($0) }
        operation.note(inputs.map(\.digest))
        _ = try await permitAgain(operation, on: keySet, model: name)
        let requester = operation.requester
        let manifest = try await manager.signedManifest(keySet, as: requester)
        let model = try await units.model(named: name, for: manifest.body)
        operation.note(model: name, unit: model.client.unit.name)
        try requireKeys(manifest.body, for: model.descriptor.profile)
        let job = try await jobs.start {
            let job = try await manager.openJob(
                inputs: inputs.map(\.digest), keySet: keySet, profile: model.descriptor.profile,
                unit: model.client.unit.registered, keepsOutputs: true, as: requester)
            operation.note("job", job.body.job)
            return job
        } _: { [self] job in
            await run(job, inputs: inputs.map(\.bytes), model: model, for: operation.continuation())
        }
        guard let job else {
            throw Problem(
                name: "too-many-jobs", title: "Too many jobs", status: 503,
                detail: "This gateway runs \(configuration.jobs) jobs at a time.",
                fix: "Retry when a job is finished; the operator may raise limits.jobs.", retryAfterSeconds: 5)
        }
        var response = try Response.json(
            JobInfo(try await manager.job(job.body.job, as: requester)), status: .accepted)
        response.headers[.location] = "/v1/jobs/\(job.body.job)"
        return response
    }

    /// A job in the background: its end, good or bad, is on its record, and on the audit log.
    private func run(
        _ job: SignedStatement<JobDescription>, inputs: [[UInt8]], model: UnitDirectory.Model,
        for operation: RequestedOperation
    ) async {
        let requester = operation.requester
        let outcome: AuditRecord
        do {
            var timings = StepTimings()
            // The job names the manifest that is current now; that one is announced.
            let manifest = try await manager.signedManifest(job.body.keySet, as: requester)
            let result = try await evaluate(job, inputs, model: model, under: manifest, timings: &timings) { entry in
                try await manager.evaluationKey(entry.name, of: job.body.keySet, as: requester)
            }
            let ended = try await manager.completeJob(
                job.body.job, receipt: result.receipt, outputs: result.outputs, unit: model.client.unit.registered,
                profile: model.descriptor.profile)
            operation.note(ended.outputs)
            outcome = operation.record(outcome: "job-evaluated")
        } catch {
            let problem = problems.problem(for: error)
            await manager.failJob(job.body.job, reason: problem.name)
            outcome = operation.record(outcome: "job-failed: \(problem.name)")
        }
        // Nobody waits for an answer. Its results leave by operations that are on record themselves.
        do { try await audit.append(outcome) } catch {
            logger.error("the end of a job is not on record", metadata: ["error": "\(error)"])
        }
    }
}

extension JobInfo {
    init(_ job: JobSummary) {
        self.init(
            id: job.job, keySet: job.keySet, model: job.model, unit: job.unit, state: job.state.rawValue,
            failure: job.failure, inputs: job.inputs.map(\.hex), outputs: job.outputs.map(\.hex),
            receipt: job.receipt?.hex, created: job.created, finished: job.finished)
    }
}
