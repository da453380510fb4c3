import ArgumentParser
import HKMSClient
import ServiceKit

extension Jobs {
    /// `hkms jobs list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List your jobs.",
            discussion: """
                A job is open, evaluated or failed.

                  hkms jobs list
                """)

        @OptionGroup var options: GatewayOptions

        func run() async throws {
            try await options.withClient { client in
                let response = try await withSpinner("asking") { try await client.jobs() }
                if options.json { return try JSONOutput(response).write() }
                var table = Table(["job", "state", "model", "key set", "created"])
                for job in response.body.jobs {
                    table.add([job.id, job.state, job.model, job.keySet, Format.date(job.created)])
                }
                guard !table.isEmpty else { return Terminal.tell("hkms: you have no job; hkms jobs run makes one\n") }
                try Terminal.write(table.text)
            }
        }
    }
}
