import ArgumentParser
import HKMSClient
import ServiceKit

extension KeySets {
    /// `hkms keysets list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List your key sets and those of your groups.",
            discussion: """
                Destroyed ones are listed too.

                  hkms keysets list
                  hkms keysets list --json | jq -r '.keySets[].id'
                """)

        @OptionGroup var options: GatewayOptions

        func run() async throws {
            try await options.withClient { client in
                let response = try await withSpinner("asking") { try await client.keySets() }
                if options.json { return try JSONOutput(response).write() }
                var table = Table(["key set", "state", "mode", "release", "owner", "made for", "created"])
                for info in response.body.keySets {
                    let ring = "\(info.parameters.scheme), N = 2^\(info.parameters.logN)"
                    table.add([
                        info.id, info.state, info.mode, info.release, "\(info.owner.kind) \(info.owner.subject)",
                        info.model ?? ring, Format.date(info.created),
                    ])
                }
                guard !table.isEmpty else {
                    return Terminal.tell("hkms: you have no key set; hkms register makes one\n")
                }
                try Terminal.write(table.text)
            }
        }
    }
}
