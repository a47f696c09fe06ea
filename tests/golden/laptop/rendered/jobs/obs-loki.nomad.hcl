job "obs-loki" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  group "loki" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "2s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "2s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    network {
      mode = "host"
      port "http" {
        static = 3100
      }
      port "grpc" {}
    }

    service {
      name     = "loki"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "obs"
        nomad_namespace = "default"
      }

      check {
        type     = "http"
        path     = "/ready"
        interval = "1s"
        timeout  = "2s"
      }
    }

    task "loki" {
      # Chunks in memory are written out at the end; what a kill cuts off is in the write-ahead log.
      kill_timeout = "60s"

      env {
        GOMEMLIMIT = "409MiB"
        DATA_DIR   = "${meta.obsctl_volumes}/obs-loki"
      }

      template {
        destination = "local/loki.yml"
        data        = "{{ key \"obsctl/obs/config/loki.yml\" }}"
        change_mode = "restart"
      }

      driver = "raw_exec"

      config {
        command = "loki"
        args = [
          "-config.file=${NOMAD_TASK_DIR}/loki.yml",
          "-config.expand-env=true",
        ]
      }

      resources {
        cpu    = 300
        memory = 512
      }
    }
  }
}
