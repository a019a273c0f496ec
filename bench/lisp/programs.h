/* programs.h - what the Lisp runs: old measures of Lisp systems that live from
 * allocation.  Each is a call that gives a number.
 *
 * Source: Gabriel, Performance and Evaluation of Lisp Systems (takl, deriv,
 * destroy is like tree here), and the n queens of the Scheme benchmarks.
 */
#ifndef BENCH_LISP_PROGRAMS_H
#define BENCH_LISP_PROGRAMS_H

static const char lisp_library[] =
    "(define (cadr x) (car (cdr x)))"
    "(define (caddr x) (car (cdr (cdr x))))"
    "(define (append a b)"
    "  (if (null? a) b (cons (car a) (append (cdr a) b))))"
    "(define (map f x)"
    "  (if (null? x) '() (cons (f (car x)) (map f (cdr x)))))"
    "(define (count-up i n)"
    "  (if (< n i) '() (cons i (count-up (+ i 1) n))))"

    /* three lists as numbers: takl */
    "(define (listn n) (if (= n 0) '() (cons n (listn (- n 1)))))"
    "(define (shorter? x y)"
    "  (and (pair? y) (or (null? x) (shorter? (cdr x) (cdr y)))))"
    "(define (mas x y z)"
    "  (if (not (shorter? y x)) z"
    "    (mas (mas (cdr x) y z) (mas (cdr y) z x) (mas (cdr z) x y))))"
    "(define (length x n) (if (null? x) n (length (cdr x) (+ n 1))))"
    "(define (takl x y z) (length (mas (listn x) (listn y) (listn z)) 0))"

    /* n queens, by lists of free rows */
    "(define (safe? row dist placed)"
    "  (or (null? placed)"
    "      (and (not (= (car placed) (+ row dist)))"
    "           (not (= (car placed) (- row dist)))"
    "           (safe? row (+ dist 1) (cdr placed)))))"
    "(define (try x y z)"
    "  (if (null? x) (if (null? y) 1 0)"
    "    (+ (if (safe? (car x) 1 z)"
    "           (try (append (cdr x) y) '() (cons (car x) z)) 0)"
    "       (try (cdr x) (cons (car x) y) z))))"
    "(define (queens n) (try (count-up 1 n) '() '()))"

    /* symbolic derivation */
    "(define (deriv a)"
    "  (cond ((not (pair? a)) (if (eq? a 'x) 1 0))"
    "        ((eq? (car a) '+) (cons '+ (map deriv (cdr a))))"
    "        ((eq? (car a) '*)"
    "         (list '* a (cons '+ (map (lambda (b) (list '/ (deriv b) b))"
    "                                  (cdr a)))))"
    "        (else (list '- (list '/ (deriv (cadr a)) (caddr a))"
    "                    (list '/ (cadr a) (list '* (caddr a) (caddr a)"
    "                                            (deriv (caddr a))))))))"
    "(define (pairs x)"
    "  (if (pair? x) (+ 1 (pairs (car x)) (pairs (cdr x))) 0))"
    "(define (derivs n sum)"
    "  (if (= n 0) sum"
    "    (derivs (- n 1)"
    "      (+ sum (pairs (deriv '(+ (* 3 x x) (* a x x) (* b x) 5)))))))"

    /* trees */
    "(define (tree depth)"
    "  (if (= depth 0) (list 1)"
    "    (cons (tree (- depth 1)) (tree (- depth 1)))))"

    /* merge sort, whose merge is as deep as the list is long */
    "(define (numbers n x)"
    "  (if (= n 0) '()"
    "    (cons x (numbers (- n 1) (remainder (+ (* x 7919) 12345) 1000003)))))"
    "(define (merge a b)"
    "  (cond ((null? a) b) ((null? b) a)"
    "        ((< (car b) (car a)) (cons (car b) (merge a (cdr b))))"
    "        (else (cons (car a) (merge (cdr a) b)))))"
    "(define (odd x) (if (null? x) x (cons (car x) (even (cdr x)))))"
    "(define (even x) (if (null? x) x (odd (cdr x))))"
    "(define (sort x)"
    "  (if (or (null? x) (null? (cdr x))) x"
    "    (merge (sort (odd x)) (sort (even x)))))"
    "(define (sum-of-steps x sum)"
    "  (if (null? (cdr x)) sum"
    "    (sum-of-steps (cdr x)"
    "      (+ (remainder (* sum 31) 1000003) (- (cadr x) (car x))))))"

    /* coroutines: do two trees have the same leaves; primes by a chain */
    "(define (walk t c)"
    "  (cond ((null? t) '())"
    "        ((pair? t) (walk (car t) c) (walk (cdr t) c))"
    "        (else (send c t))))"
    "(define (leaves t c) (walk t c) (send c 'end))"
    "(define (compare a b n)"
    "  (let ((x (recv a)) (y (recv b)))"
    "    (cond ((not (eq? x y)) -1) ((eq? x 'end) n)"
    "          (else (compare a b (+ n 1))))))"
    "(define (start f x) (let ((c (chan))) (spawn (lambda () (f x c))) c))"
    "(define (same-fringe a b)"
    "  (compare (start leaves a) (start leaves b) 0))"
    "(define (candidates n c)"
    "  (map (lambda (i) (send c i)) (count-up 2 n)) (send c 'end))"
    "(define (filter prime from to)"
    "  (let ((x (recv from)))"
    "    (cond ((eq? x 'end) (send to x))"
    "          ((= (remainder x prime) 0) (filter prime from to))"
    "          (else (send to x) (filter prime from to)))))"
    "(define (sieve from sum)"
    "  (let ((prime (recv from)))"
    "    (if (eq? prime 'end) sum"
    "      (let ((to (chan)))"
    "        (spawn (lambda () (filter prime from to)))"
    "        (sieve to (+ sum prime))))))";

static const char *const lisp_programs[] = {
    "(takl 14 10 5)",
    "(queens 8)",
    "(derivs 10000 0)",
    "(pairs (tree 16))",
    "(sum-of-steps (sort (numbers 20000 1)) 1)",
};

static const char *const lisp_coroutines[] = {
    "(same-fringe (tree 12) (tree 12))",
    "(sieve (start candidates 1000) 0)",
};

#endif /* BENCH_LISP_PROGRAMS_H */
