job "obs-prometheus" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  group "prometheus" {
    count = 2

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "10s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "10s"
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
        static = 9090
      }
    }

    volume "data" {
      type   = "host"
      source = "obs-prometheus"
    }

    service {
      name     = "prometheus"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "obs"
        nomad_namespace = "default"
      }

      check {
        type     = "http"
        path     = "/-/ready"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "prometheus" {
      # The head block is written out at the end; a kill in the middle costs a WAL replay at the next start.
      kill_signal  = "SIGTERM"
      kill_timeout = "60s"

      template {
        destination = "local/prometheus.yml"
        data        = "{{ key \"obsctl/obs/config/prometheus.yml\" }}"
        change_mode = "noop" # Prometheus reloads by itself
      }

      # One KV value a rule group: a new group never touches this job.
      template {
        destination = "local/rules/groups.yml"
        change_mode = "noop"
        data        = <<-EOT
        groups:
        {{- range ls "obsctl/obs/rules" }}
        {{ .Value }}
        {{- end }}
        EOT
      }

      volume_mount {
        volume      = "data"
        destination = "/prometheus"
      }

      driver = "docker"

      config {
        image        = "prom/prometheus:v3.14.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "--config.file=${NOMAD_TASK_DIR}/prometheus.yml",
          "--config.auto-reload-interval=15s",
          "--config.auto-reload",
          "--storage.tsdb.path=/prometheus",
          "--storage.tsdb.retention.time=360h",
          "--enable-feature=exemplar-storage",
          "--rules.alert.resend-delay=1m",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--web.external-url=http://${NOMAD_ADDR_http}/",
          "--web.cors.origin=none",
        ]
      }

      resources {
        cpu    = 500
        memory = 1024
      }
    }
  }
}
