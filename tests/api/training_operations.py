"""Operations on what lies in the object store, by name."""

from __future__ import annotations

ERRORS = "userErrors { code message path }"
TRAINING = {
    "Freeze": f"""mutation ($input: FreezeSnapshotInput!) {{
        freezeSnapshot(input: $input) {{ {ERRORS} snapshot {{ id name version rows }} }} }}""",
    "Download": f"""mutation ($input: SnapshotDownloadInput!) {{
        snapshotDownload(input: $input) {{ {ERRORS} files {{ path bytes sha256 url }} }} }}""",
    "Launch": f"""mutation ($input: LaunchJobInput!) {{
        launchJob(input: $input) {{ {ERRORS} job {{ id state name }} }} }}""",
    "Cancel": f"""mutation ($input: CancelJobInput!) {{
        cancelJob(input: $input) {{ {ERRORS} job {{ id cancelRequested }} }} }}""",
    "Promote": f"""mutation ($input: PromoteModelInput!) {{
        promoteModel(input: $input) {{ {ERRORS} model {{ id label promoted }} }} }}""",
    "FollowJob": """subscription ($jobId: ID!) {
        jobEvents(jobId: $jobId) { cursor type stage step total message job { id state } } }""",
    "Snapshots": "{ snapshots(first: 5) { nodes { id rows deletedContributions } } }",
    "Models": "{ models(first: 5) { nodes { id label promoted lineage { jobId } } } }",
    "Node": "query ($id: ID!) { node(id: $id) { id } }",
}
