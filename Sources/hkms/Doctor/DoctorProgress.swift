/// Tells somebody who watches what is being asked, on one line that is cleared at the end.
struct DoctorProgress: Sendable {
    private let isShown = Terminal.errorIsTerminal

    func show(_ running: [String]) {
        guard isShown else { return }
        let shown = running.prefix(4).joined(separator: ", ") + (running.count > 4 ? ", ..." : "")
        Terminal.tell("\r\u{1B}[K" + (running.isEmpty ? "" : "asking: \(shown)"))
    }

    func end() { show([]) }
}
