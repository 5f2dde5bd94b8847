"""The starter pipeline that `stream-app init` writes."""
