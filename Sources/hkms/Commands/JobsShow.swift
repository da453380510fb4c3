import ArgumentParser
import HKMSClient
import ServiceKit

extension Jobs {
    /// `hkms jobs show`
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one job: its state, inputs, outputs and receipt.",
            discussion: """
                Inputs and outputs are named by the SHA-256 of their ciphertexts.

                  hkms jobs show JOB
                """)

        @Argument(help: "Id of the job.")
        var job: String
        @OptionGroup var options: GatewayOptions

        func run() async throws {
            try await options.withClient { client in
                let response = try await withSpinner("asking") { try await client.job(job) }
                if options.json { return try JSONOutput(response).write() }
                try Terminal.write(Jobs.report(response.body))
            }
        }
    }

    static func report(_ job: JobInfo) -> String {
        var table = Table()
        table.add(["job", job.id])
        table.add(["state", job.state])
        if let failure = job.failure { table.add(["failure", failure]) }
        table.add(["model", job.model])
        table.add(["evaluation unit", job.unit])
        table.add(["key set", job.keySet])
        table.add(["created", Format.date(job.created)])
        if let date = job.finished { table.add(["finished", Format.date(date)]) }
        for digest in job.inputs { table.add(["input", digest]) }
        for digest in job.outputs { table.add(["output", digest]) }
        if let receipt = job.receipt { table.add(["receipt", receipt]) }
        return table.text
    }
}
