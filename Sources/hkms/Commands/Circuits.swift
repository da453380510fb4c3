import ArgumentParser
import HKMSClient
import ServiceKit

/// `hkms circuits`
struct Circuits: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List what the evaluation units compute on exact integers, or show one circuit.",
        discussion: """
            Encrypt records for a circuit, run a job of it, and decrypt its results:

              hkms circuits
              hkms register --model heart-disease-totals
              hkms encrypt ID --model heart-disease-totals --records records.csv --out records.bundle
              hkms jobs run --keyset ID --model heart-disease-totals --in records.bundle --out results.bundle
              hkms decrypt ID --in results.bundle --circuit heart-disease-totals
            """)

    @Argument(help: "Name of a circuit.")
    var name: String?
    @OptionGroup var options: GatewayOptions

    func run() async throws {
        try await options.withClient { client in
            let response = try await withSpinner("asking") { try await client.circuits() }
            if let name {
                let circuit = try await client.knownCircuit(name)
                if options.json { return try JSONOutput(response, body: circuit).write() }
                return try Terminal.write(report(circuit))
            }
            if options.json { return try JSONOutput(response).write() }
            var table = Table(["circuit", "version", "unit", "columns", "records", "results", "parameters"])
            for circuit in response.body.circuits {
                table.add([
                    circuit.name, String(circuit.version), circuit.unit, String(circuit.columns.count),
                    String(circuit.records), circuit.perRecord ? "one a record" : String(circuit.results.count),
                    KeySetReport.parameters(circuit.parameters),
                ])
            }
            guard !table.isEmpty else { return Terminal.tell("hkms: no evaluation unit tells a circuit\n") }
            try Terminal.write(table.text)
        }
    }

    private func report(_ circuit: CircuitInfo) -> String {
        var facts = Table()
        facts.add(["circuit", "\(circuit.name), version \(circuit.version)"])
        facts.add(["description", circuit.description])
        facts.add(["evaluation unit", circuit.unit])
        facts.add(["records", "\(circuit.records) an evaluation"])
        facts.add(["ciphertexts", "\(circuit.operands) an evaluation"])
        facts.add([
            "results", circuit.perRecord ? "one a record" : circuit.results.map(\.name).joined(separator: ", "),
        ])
        facts.add(["largest result", String(circuit.magnitude)])
        facts.add(["parameters", KeySetReport.parameters(circuit.parameters)])
        facts.add(["evaluation keys", String(circuit.evaluationKeys.count)])
        facts.add(["SHA-256", circuit.digest])
        var columns = Table(["column", "from", "to"])
        for column in circuit.columns { columns.add([column.name, String(column.minimum), String(column.maximum)]) }
        return facts.text + "\n" + columns.text
    }
}
