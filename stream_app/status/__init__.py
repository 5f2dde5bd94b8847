"""What a pipeline is doing now, told by the cluster from anywhere and by the workers of this machine."""
