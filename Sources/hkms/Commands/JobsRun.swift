import ArgumentParser
import HKMSClient
import ServiceKit

extension Jobs {
    /// `hkms jobs run`
    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have a model evaluated on ciphertexts and wait for it.",
            discussion: """
                The job goes on if the command is interrupted: hkms jobs list finds it again.

                  hkms jobs run --keyset ID --model heart-disease --in records.bundle --out results.bundle
                """)

        @Option(help: ArgumentHelp("Key set of the ciphertexts.", valueName: "id"))
        var keyset: String
        @Option(help: ArgumentHelp("The model or circuit.", valueName: "name"))
        var model: String
        @Option(
            name: .customLong("in"), help: ArgumentHelp("File of ciphertexts, - for standard input.", valueName: "file")
        )
        var input: String
        @Option(help: ArgumentHelp("Where to write the output ciphertexts.", valueName: "file"))
        var out: String?
        @Option(help: ArgumentHelp("How long to wait for the job.", valueName: "seconds"))
        var wait = 3_600
        @OptionGroup var options: GatewayOptions

        func validate() throws {
            guard (0...604_800).contains(wait) else { throw ValidationError("--wait is 0 to 604800 seconds.") }
        }

        func run() async throws {
            let ciphertexts = try CiphertextFile.read(input)
            try await options.withClient { client in
                let opened = try await withSpinner("sending") {
                    try await client.openJob(keySet: keyset, model: model, ciphertexts: ciphertexts)
                }
                let id = opened.body.id
                Terminal.tell("hkms: job \(Terminal.printable(id))\n")
                let response = try await withSpinner("evaluating") { try await finished(opened, client) }
                let job = response.body
                guard job.state != "failed" else {
                    throw CommandFailure(
                        title: "Job failed", detail: job.failure ?? "the gateway does not tell why",
                        fix: "hkms jobs show \(id) tells what it knows; correct the cause and run it again.")
                }
                if let out {
                    try OutputFile.write(OctetBundle.encode(try await client.results(ofJob: id).body), to: out)
                }
                guard out != "-" else { return }
                if options.json { return try JSONOutput(response).write() }
                try Terminal.write(Jobs.report(job))
                let steps = Table(response.timings)
                if !steps.isEmpty { try Terminal.write("\n" + steps.text) }
                if out == nil { Terminal.tell("hkms: fetch the outputs by hkms jobs results \(id) --out FILE\n") }
            }
        }

        /// Asks less and less often, every two seconds in the end.
        private func finished(
            _ opened: HKMSClient.Response<JobInfo>, _ client: HKMSClient
        ) async throws -> HKMSClient.Response<JobInfo> {
            let end = ContinuousClock.now + .seconds(wait)
            var pause = Duration.milliseconds(100)
            var response = opened
            while response.body.state == "open" {
                guard ContinuousClock.now < end else {
                    throw CommandFailure(
                        title: "Job still open", detail: "it did not finish within \(wait) seconds and goes on",
                        fix: "Ask again by hkms jobs show \(opened.body.id).")
                }
                try await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(2))
                response = try await client.job(opened.body.id)
            }
            return response
        }
    }
}
