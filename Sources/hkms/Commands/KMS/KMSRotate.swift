import ArgumentParser
import KeyManagement
import ServiceKit

extension KMS {
    /// `hkms kms rotate`
    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a version to the KMS's key and seal all seeds under it.",
            discussion: """
                HE keys stay. Killed at any point, the same command goes on. Where the gateway's credential may not \
                rotate the key, as it should not, rotate it in the KMS yourself and give --rewrap-only.

                --retire destroys the key's older versions at the end, once nothing is sealed under them: whoever kept \
                a copy of an old sealed seed cannot open it any more, and key sets that were destroyed before count as \
                shredded. It cannot be undone, and backups of the object store from before are of no use afterwards. \
                Copies of the installation's sealed key on other machines must be replaced before.

                  hkms kms rotate --config hkms.yaml
                  hkms kms rotate --config hkms.yaml --retire --yes
                """)

        @OptionGroup var options: KMSCommandOptions
        @OptionGroup var job: RewrapOptions
        @Option(name: .long, help: ArgumentHelp("Which KMS; the current one by default.", valueName: "name"))
        var kms: String?
        @Flag(name: .long, help: "Add no version: somebody did so in the KMS.") var rewrapOnly = false
        @Flag(name: .long, help: "Destroy the older versions at the end.") var retire = false
        @Flag(name: .long, help: "Do not ask.") var yes = false

        func run() async throws {
            let settings = try ServerConfiguration(path: options.config)
            let name = kms ?? settings.kms.name
            try settings.requireKMS(name)
            guard
                !retire || job.dryRun || yes
                    || Confirmation.isGiven(
                        "Destroy all versions of the key but the newest? Backups of sealed seeds from before are lost.")
            else { throw Confirmation.missing("destroying old versions") }
            try await RewrapRunner(
                settings: settings, options: options,
                request: RewrapRequest(
                    kind: .rotate, from: name, to: name, addsVersion: !rewrapOnly, retiresOldVersions: retire,
                    rate: job.rate, width: job.width, isDryRun: job.dryRun)
            ).run()
        }
    }
}
