import ArgumentParser

/// `hkms jobs`
struct Jobs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs",
        abstract: "Have models evaluated on ciphertexts, in the background.",
        discussion: """
            hkms predict does all of this in one request; jobs leave each step to you.

              hkms encrypt ID --model heart-disease --records records.csv --out records.bundle
              hkms jobs run --keyset ID --model heart-disease --in records.bundle --out results.bundle
              hkms decrypt ID --in results.bundle
            """,
        subcommands: [List.self, Show.self, Run.self, Results.self])
}
