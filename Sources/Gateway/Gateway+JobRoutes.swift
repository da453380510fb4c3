import Attestation
import EncryptedInference
import HTTPTypes
import Hummingbird
import KeyManagement
import ServerKit
import ServiceKit

extension Gateway {
    func addJobRoutes(to group: RouterGroup<ServiceContext>) {
        group.post { [self] request, context in
            guard let keySet = request.uri.queryParameters["keyset"].map(String.init),
                let name = request.uri.queryParameters["model"].map(String.init)
            else {
                throw Problem.badRequest(
                    "the query lacks keyset or model", fix: "POST /v1/jobs?keyset=ID&model=NAME with a bundle.")
            }
            let inputs = try await bundle(request)
            let requester = try requester(context)
            let manifest = try await manager.signedManifest(keySet, as: requester)
            let model = try await units.model(named: name, for: manifest.body)
            try requireKeys(manifest.body, for: model.descriptor.profile)
            let job = try await jobs.start {
                try await manager.openJob(
                    inputs: inputs.map { Digest(of: $0) }, keySet: keySet, profile: model.descriptor.profile,
                    unit: model.client.unit.registered, keepsOutputs: true, as: requester)
            } _: { [self] job in
                await run(job, inputs: inputs, model: model, as: requester)
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
        group.get { [self] _, context in
            try Response.json(JobList(jobs: try await manager.jobs(as: requester(context)).map { JobInfo($0) }))
        }
        group.get("{job}") { [self] _, context in
            try Response.json(
                JobInfo(try await manager.job(parameter("job", context), as: requester(context))))
        }
        group.get("{job}/results") { [self] _, context in
            let job = try await manager.job(parameter("job", context), as: requester(context))
            guard job.state != .open else {
                throw Problem(
                    name: "job-not-finished", title: "The job is not finished", status: 409,
                    detail: "Job \(job.job) waits for its evaluation unit.",
                    fix: "GET /v1/jobs/{id} until it is evaluated.",
                    retryAfterSeconds: 1)
            }
            return Response.bytes(
                OctetBundle.encode(try await manager.outputs(of: job.job, as: requester(context))),
                type: MediaType.bundle)
        }
        group.refuseOtherMethods("", than: [.get, .post])
        for path: RouterPath in ["{job}", "{job}/results"] { group.refuseOtherMethods(path, than: [.get]) }
    }

    /// A job in the background: its end, good or bad, is on its record.
    private func run(
        _ job: SignedStatement<JobDescription>, inputs: [[UInt8]], model: UnitDirectory.Model,
        as requester: Requester
    ) async {
        do {
            var timings = StepTimings()
            // The job names the manifest that is current now; that one is announced.
            let manifest = try await manager.signedManifest(job.body.keySet, as: requester)
            let result = try await evaluate(job, inputs, model: model, under: manifest, timings: &timings) { entry in
                try await manager.evaluationKey(entry.name, of: job.body.keySet, as: requester)
            }
            _ = try await manager.completeJob(
                job.body.job, receipt: result.receipt, outputs: result.outputs, unit: model.client.unit.registered,
                profile: model.descriptor.profile)
        } catch {
            let problem = (error as? Problem) ?? ErrorProblems.problem(for: error)
            await manager.failJob(job.body.job, reason: problem?.name ?? "internal-error")
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
